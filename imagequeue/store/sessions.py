"""What a session of Postgres must be like: ours has limits, and takes writes.

Directly, a session gets its limits when it begins, by the startup parameter `options`. A pooler that hands
sessions out for each transaction refuses that parameter, or ignores it, and the next transaction may get
another session. There the first statement of each transaction sets the limits for this transaction alone, and
no statement is prepared. Nothing else of ours stays in a session: locks, settings and advisory locks end with
their transaction, and wake-ups go through Redis.

After a failover the server of old may still answer, as a standby: it would take no write, and show what was
true some time ago. So a session that takes no writes is dropped, with all others of its pool, and no new one
is opened with such a server (libpq's `target_session_attrs`). Until another server is found the database
counts as away.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from psycopg import Error
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InvalidatePoolError, OperationalError

from imagequeue.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

LIMITS = {"lock_timeout": "10s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "30s"}
"""Nothing waits for ever, and no forgotten transaction keeps dead rows from vacuum."""

FRESH_SECONDS = 2.5
"""A session that was used so short a time ago is taken to live unless its socket says otherwise.

Longer than a loop waits that looks every second, and than a heartbeat: else each of those would be two round
trips on an idle stack.
"""

_USED_AT = "used_at"
"""In the pool's entry of a connection: when it came back, by the clock that never goes back."""

PER_TRANSACTION: Mapping[str, Any] = {"prepare_threshold": None}
"""How psycopg connects through a pooler."""

_SET = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in LIMITS.items())
_REPORTED = ("in_hot_standby", "default_transaction_read_only")
"""Settings of a session whose changes Postgres 14 and later reports with the next answer."""

_MARK = "imagequeue.session"
"""A setting of ours that no server has: it shows whether the startup options have reached Postgres."""

_REFUSALS = ("startup parameter", "command-line options")
"""How poolers refuse `options`: PgBouncer and Neon's; RDS Proxy."""
_NO_POOLER = (
    "IMAGEQUEUE_DATABASE_POOLER: IMAGEQUEUE_DATABASE_URL leads to a connection pooler"
    " that takes no startup options; set it to `transaction`"
)
_OWN_OPTIONS = (
    "IMAGEQUEUE_DATABASE_URL: the connection pooler takes no `options`; set them for the role, by ALTER ROLE"
)


def per_session(parameters: Mapping[str, str]) -> Mapping[str, Any]:
    """How libpq connects directly, besides `parameters`: the options of the URL come last, so they win."""
    own = " ".join(f"-c {name}={value}" for name, value in {**LIMITS, _MARK: "direct"}.items())
    return {
        "options": f"{own} {parameters.get('options', '')}".rstrip(),
        "target_session_attrs": parameters.get("target_session_attrs", "read-write"),
    }


def watch(engine: Engine, *, pooled: bool) -> None:
    """Keep the sessions of an engine to these rules; `pooled`: a pooler hands them out."""
    if pooled:
        event.listen(engine, "begin", _set_limits)
    else:
        event.listen(engine, "connect", _require_options)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _ping_unless_fresh)  # first, because the answer may tell of a standby
    if not pooled:
        event.listen(engine, "checkout", _refuse_standby)

    def meaning(context: ExceptionContext) -> Exception | None:
        return _refused_options(context, pooled=pooled) or _read_only(context)

    event.listen(engine, "handle_error", meaning)


def _note_use(_: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _ping_unless_fresh(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
    """Find out that a session has ended before it is used; then all others of the pool count as ended, too.

    Under load a round trip for each transaction would be one of eight that it makes. A session that was used
    within the last `FRESH_SECONDS` is asked only if its socket has something to read, which is how the end of
    a server shows.
    """
    used_at = record.info.get(_USED_AT)
    if used_at is None:
        return  # it was opened for this use
    if time.monotonic() - used_at < FRESH_SECONDS and not _has_news(connection):
        return
    try:
        connection.autocommit = True
        connection.execute(";")
        connection.autocommit = False
    except Error:
        raise InvalidatePoolError from None


def _has_news(connection: Any) -> bool:
    """Whether the server has sent something that nobody has asked for, or has closed the connection."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _set_limits(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT {_SET}")


def _require_options(connection: Any, *_: object) -> None:
    """Refuse a pooler that ignores the options: no limit would hold, and prepared statements would fail."""
    connection.autocommit = True
    (mark,) = connection.execute(f"SELECT current_setting('{_MARK}', true)").fetchone()
    connection.autocommit = False
    if mark is None:
        raise ConfigurationError(_NO_POOLER)


def _refuse_standby(connection: Any, *_: object) -> None:
    """Drop the sessions of the pool when the server has said that it takes no more writes."""
    if any(connection.info.parameter_status(name) == "on" for name in _REPORTED):
        raise InvalidatePoolError


def _refused_options(context: ExceptionContext, *, pooled: bool) -> ConfigurationError | None:
    """What it means that no connection is opened because of its options."""
    said = str(context.original_exception) if context.connection is None else ""
    if not any(words in said for words in _REFUSALS):
        return None
    return ConfigurationError(_OWN_OPTIONS if pooled else _NO_POOLER)


def _read_only(context: ExceptionContext) -> OperationalError | None:
    """A write that the server refuses as a standby ends the session; the database is away."""
    error = context.original_exception
    if not isinstance(error, ReadOnlySqlTransaction):
        return None
    context.is_disconnect = True
    return OperationalError(None, None, error, hide_parameters=True, connection_invalidated=True)
