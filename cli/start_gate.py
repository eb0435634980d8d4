"""The gate at which a process of a stack waits when it has imported all (`cli/stack/start_gate.py`)."""

from __future__ import annotations

from typing import Annotated

import typer

AfterFd = Annotated[
    int | None,
    typer.Option(hidden=True, help="Connect to the servers once this descriptor is at its end."),
]
"""The option by which `up` tells a process of it."""


def wait_at(descriptor: int | None) -> None:
    """Return once the descriptor is at its end; at once without one."""
    if descriptor is not None:
        with open(descriptor, "rb", buffering=0) as gate:  # noqa: PTH123  # it has no path
            gate.read()
