"""A refusal ends a command with one line on standard error and status 1, never with a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer
from sqlalchemy.exc import OperationalError

from imagequeue.domain.errors import ImagequeueError

P = ParamSpec("P")
R = TypeVar("R")


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that what it refuses is told in one line."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ImagequeueError as error:
            complaint = error.message
        except OperationalError as error:
            complaint = f"The database does not answer: {str(error.orig).splitlines()[0]}"
        typer.echo(f"imagequeue: {complaint}", err=True)
        raise typer.Exit(1)

    return wrapper
