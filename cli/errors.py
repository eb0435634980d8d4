"""How commands fail: with one line on standard error and exit status 1, never with a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer
from click.exceptions import Abort, ClickException

from imagequeue.domain.errors import ImagequeueError

P = ParamSpec("P")
R = TypeVar("R")


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that any error that it raises becomes one line and exit status 1."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ImagequeueError as error:
            message = error.message
        except (typer.Exit, Abort, ClickException):
            raise
        except Exception as error:  # noqa: BLE001  # a user gets one line, whatever went wrong
            message = _explained(error)
        typer.echo(f"imagequeue: {message}", err=True)
        raise typer.Exit(1)

    return wrapper


def _explained(error: Exception) -> str:
    """What a failure means for the user of the command."""
    from sqlalchemy.exc import DBAPIError, OperationalError  # noqa: PLC0415  # slow, and most commands need none

    match error:
        case OperationalError():
            return f"The database does not answer: {_first_line(error.orig)}"
        case DBAPIError():
            return f"The database refuses; is it up to date (`imagequeue migrate`)? {_first_line(error.orig)}"
        case UnicodeError():
            return "A word of the command line, or a variable, has characters that cannot be sent"
        case _:
            return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: object) -> str:
    return next(iter(str(error).splitlines()), "no reason given")
