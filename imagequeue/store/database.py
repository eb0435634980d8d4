"""Connections to Postgres. All database code is synchronous (docs/design/pipeline.md, "Bulk calls").

The store never commits: verbs open `engine.begin()` and everything in it is one transaction. Code that only
reads opens it, too. A connection from `engine.connect()` ends by a ROLLBACK, at which psycopg forgets what
the session has prepared, and Postgres plans the next statements of the process anew. What is one statement
opens `one_statement`, reads without a lock open `separate_statements`; both save the round trips of BEGIN and
COMMIT.

Postgres plans a prepared statement once and for all where a plan for any values looks no worse than one for
these values. It takes an array in `= ANY(:ids)` or `FROM unnest(:ids)` for ten elements then, and for as many
as it has otherwise, which with one element looks cheaper each time. Statements that every job sends hide
their arrays in a subselect, behind which both count as ten.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from imagequeue.store import sessions
from imagequeue.store.database_url import parameters_of

STATEMENT_SECONDS = 2.0
"""What a statement may take that a caller of the API waits for: less than the caller does."""

_GIVES_UP = {
    "connect_timeout": 3,  # seconds, as those of the keep-alives
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}
"""When libpq holds a server to be gone."""

_POOLED = "imagequeue_pooled"
"""An option of an engine: whether a pooler hands its sessions out."""

Pooler = Literal["transaction"]
"""What stands between this process and Postgres: a pooler that hands a session out for each transaction."""


def open_engine(url: str, *, pool_size: int, name: str, pooler: Pooler | None = None) -> Engine:
    """Open a pool of connections.

    A server that is gone is noticed within seconds, also behind a half-open connection: the driver gives
    up connecting after 3 s for each host, and unacknowledged data ends a connection after 10 s. A server that
    takes no writes counts as one that is gone (`sessions.py`).

    Args:
        url: as people have it (`database_url.py`); what its parameters say wins over the above.
        pool_size: the most connections that this process holds.
        name: shown in `pg_stat_activity`.
        pooler: as `IMAGEQUEUE_DATABASE_POOLER` says; None: the connections are Postgres's own.

    Raises:
        ConfigurationError: the URL is none. A connection raises it later where a pooler is in between that
            `pooler` does not tell of.
    """
    parameters = parameters_of(url)
    engine = create_engine(
        "postgresql+psycopg://",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,  # seconds, as below
        pool_recycle=1800,
        pool_use_lifo=True,  # what came back last is alive, and has prepared what this process asks often
        hide_parameters=True,  # an error's text reaches logs; prompts must not
        isolation_level="READ COMMITTED",  # it stands in every BEGIN, so no default of a server counts
        connect_args={
            "application_name": f"imagequeue {name}",
            **_GIVES_UP,
            **parameters,
            **(sessions.PER_TRANSACTION if pooler else sessions.per_session(parameters)),
        },
    )
    sessions.watch(engine, pooled=pooler is not None)
    engine.update_execution_options(**{_POOLED: pooler is not None})
    return engine


@contextmanager
def separate_statements(engine: Engine) -> Generator[Connection]:
    """A connection for statements of which each is a transaction by itself: durable when it has returned.

    For reads this changes nothing: in a transaction, too, each of our statements sees what is committed when
    it begins. Through a pooler it is an ordinary transaction, because the first statement of each sets its
    limits.
    """
    if engine.get_execution_options().get(_POOLED):
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        with connection.begin():
            yield connection


def one_statement(engine: Engine) -> AbstractContextManager[Connection]:
    """The same for a single statement."""
    return separate_statements(engine)


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
