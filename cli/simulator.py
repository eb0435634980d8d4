"""`imagequeue simulator`: the stand-in for the upstream services."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    config: Annotated[
        Path | None, typer.Option(help="Upstreams and quotas (JSON), in the form of docs/simulator.md.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="File for a JSON line about every call.")] = None,
) -> None:
    """Serve the simulated upstreams until SIGTERM."""
    from simulator.config import load_config  # noqa: PLC0415  # heavy imports belong to the command
    from simulator.server import serve  # noqa: PLC0415

    serve(host, port, load_config(config) if config else None, log)
