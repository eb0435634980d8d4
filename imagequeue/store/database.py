"""Connections to Postgres. All database code is synchronous (docs/design/pipeline.md, "Bulk calls").

The store never commits: verbs open `engine.begin()` and everything in it is one transaction.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from imagequeue.domain.errors import ConfigurationError

SESSION = {"lock_timeout": "10s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "30s"}
"""Limits of a session: nothing waits for ever, and no forgotten transaction keeps dead rows from vacuum."""


STATEMENT_SECONDS = 2.0
"""What a statement may take that a caller of the API waits for: less than the caller does."""


def open_engine(url: str, *, pool_size: int, name: str) -> Engine:
    """Open a pool of connections.

    A server that is gone is noticed within seconds, also behind a half-open connection: the driver gives
    up connecting after 3 s, and unacknowledged data ends a connection after 10 s.

    Args:
        url: of SQLAlchemy's form, with the psycopg driver.
        pool_size: the most connections that this process holds.
        name: shown in `pg_stat_activity`.

    Raises:
        ConfigurationError: the URL is none, or that of another kind of database.
    """
    return create_engine(
        _parsed(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,  # seconds, as below
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # an error's text reaches logs; prompts must not
        connect_args={
            "application_name": f"imagequeue {name}",
            "connect_timeout": 3,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,  # milliseconds
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
        },
    )


def _parsed(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername != "postgresql+psycopg":
        raise ConfigurationError("IMAGEQUEUE_DATABASE_URL is not the URL of a PostgreSQL database")
    return url


class TooSlow(Exception):
    """A statement took longer than it was allowed to."""


class LockTimeout(TooSlow):
    """Another transaction held a lock for longer than this one was allowed to wait for it."""


@contextmanager
def at_most(connection: Connection, seconds: float, *, lock_seconds: float | None = None) -> Generator[None]:
    """Let each statement inside take at most `seconds`; the limits stay until the transaction ends.

    Args:
        connection: whose statements they are.
        seconds: for each statement, its waits for locks included.
        lock_seconds: for each wait for a lock; None: no other limit than the session's.

    Raises:
        LockTimeout: one waited longer for a lock, or in a circle (a deadlock).
        TooSlow: one took longer, and was cancelled.
    """
    limits = {"statement": _milliseconds(seconds), "lock": _milliseconds(lock_seconds or seconds)}
    connection.execute(_LIMIT if lock_seconds is None else _LIMIT_WITH_LOCKS, limits)
    try:
        yield
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable | DeadlockDetected):
            raise LockTimeout from None
        if isinstance(error.orig, QueryCanceled):
            raise TooSlow from None
        raise


def locks_within(connection: Connection, seconds: float | None) -> AbstractContextManager[None]:
    """Let each statement inside wait at most `seconds` for a lock, as `at_most` does; None: no own limit."""
    if seconds is None:
        return nullcontext()
    return at_most(connection, STATEMENT_SECONDS, lock_seconds=seconds)


_LIMIT = text("SELECT set_config('statement_timeout', :statement, true)")
_LIMIT_WITH_LOCKS = text("""
    SELECT set_config('statement_timeout', :statement, true), set_config('lock_timeout', :lock, true)
""")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"
