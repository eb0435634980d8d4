"""How the command of a process starts: settings, logs, runtime. A wrong setting ends it with one line."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextlib import contextmanager

import typer
from sqlalchemy.exc import SQLAlchemyError

from cli.start_gate import wait_at
from imagequeue.domain.errors import ConfigurationError
from imagequeue.logs import configure_logs
from imagequeue.redis_server.refusal import refuse_misconfigured
from imagequeue.runtime import Runtime, open_runtime
from imagequeue.settings import Settings, load_settings


def settings() -> Settings:
    """Read the settings and configure the logs; a wrong setting ends the command with status 2."""
    try:
        read = load_settings()
    except ConfigurationError as error:
        raise refusal(error) from None
    configure_logs(read.log_level, read.log_format)
    return read


@contextmanager
def opened(name: str, *, calls_upstreams: bool = False, after_fd: int | None = None) -> Generator[Runtime]:
    """Open the runtime of a process and close it at the end; a process that makes calls needs their keys.

    It connects to no server before `after_fd` is at its end (`wait_at`).
    """
    read = settings()
    try:
        runtime = open_runtime(read, name=name, calls_upstreams=calls_upstreams)
    except ConfigurationError as error:
        raise refusal(error) from None
    try:
        wait_at(after_fd)
        _refuse_servers(runtime)
        yield runtime
    finally:
        runtime.close()


def _refuse_servers(runtime: Runtime) -> None:
    """End the command when a server answers, and not as the settings say; both may be away.

    That is a connection pooler in front of Postgres that no setting tells of, or a Redis that is not the one
    which the certificates vouch for, or refuses the login.
    """
    try:
        refuse_misconfigured(runtime.settings.redis_address)
        with contextlib.suppress(SQLAlchemyError):
            runtime.engine.connect().close()
    except ConfigurationError as error:
        raise refusal(error) from None


def refusal(error: ConfigurationError) -> typer.Exit:
    """Print what is wrong; the exception to raise, which ends the command with status 2."""
    typer.echo(f"imagequeue: {error.message}", err=True)
    return typer.Exit(2)
