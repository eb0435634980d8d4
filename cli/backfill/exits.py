"""How `imagequeue backfill` ends: its exit codes, and what is wrong with what the user gave."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, ParamSpec, TypeVar

import typer

from cli.errors import reported
from imagequeue.domain.errors import ImagequeueError

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
"""By Ctrl-C, as shells have it: 128 and the number of SIGINT."""


class Exit(IntEnum):
    """Exit codes of `backfill run`. 1 is every other fault, such as a server that is away."""

    DONE = 0
    USAGE = 2  # an option or the file is wrong; nothing runs and nothing was charged
    SOME_FAILED = 3  # the batch has ended, and lines of it have no images
    PAUSED = 4
    CANCELLED = 5


class WrongUse(ImagequeueError):
    """An option, the file or the directory is wrong."""


def usage_reported(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command as `reported` does; what the user gave wrongly is the exit code 2."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except WrongUse as error:
            typer.echo(f"imagequeue: {error.message}", err=True)
            raise typer.Exit(Exit.USAGE) from None

    return reported(wrapper)


def exit_of(batch: Mapping[str, Any], missing: int) -> Exit:
    """The exit code for a batch that has ended or is paused; `missing` images could not be downloaded."""
    match batch["status"]:
        case "paused":
            return Exit.PAUSED
        case "failed":
            return Exit.USAGE
        case "cancelled" | "cancelling":
            return Exit.CANCELLED
        case _:
            counts: Mapping[str, int] = batch["counts"]
            lost = sum(counts[name] for name in ("failed", "unknown", "cancelled", "expired"))
            return Exit.SOME_FAILED if lost or missing else Exit.DONE
