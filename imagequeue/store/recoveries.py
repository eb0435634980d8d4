"""Recoveries: tasks in the background that redeliver what has died in a range of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.ids import new_id

_COLUMNS = "id, account_id, since, until, after_at, after_id, redelivered, skipped, created_at, finished_at"

_START = text(f"""
    INSERT INTO webhook_recoveries (id, account_id, since, until)
    SELECT :id, :account_id, CAST(:since AS timestamptz), at.until
    FROM (SELECT least(CAST(:until AS timestamptz), clock_timestamp()) AS until) AS at
    WHERE CAST(:since AS timestamptz) < at.until
    RETURNING {_COLUMNS}
""")  # noqa: S608  # ours

_LOCK_ACCOUNT = text("SELECT FROM accounts WHERE id = :id FOR NO KEY UPDATE")

_RUNNING = text("""
    SELECT count(*) FROM webhook_recoveries WHERE account_id = :account_id AND finished_at IS NULL
""")

_READ = text(f"SELECT {_COLUMNS} FROM webhook_recoveries WHERE id = :id AND account_id = :account_id")  # noqa: S608

_TAKE = text(f"""
    SELECT {_COLUMNS} FROM webhook_recoveries WHERE finished_at IS NULL
    ORDER BY looked_at LIMIT 1 FOR UPDATE SKIP LOCKED
""")  # noqa: S608

_ADVANCE = text("""
    UPDATE webhook_recoveries
    SET redelivered = redelivered + :redelivered, skipped = skipped + :skipped,
        after_at = coalesce(:after_at, after_at), after_id = coalesce(:after_id, after_id),
        looked_at = clock_timestamp(), finished_at = CASE WHEN :over THEN clock_timestamp() END
    WHERE id = :id
""")

_FORGET = text("""
    DELETE FROM webhook_recoveries WHERE id = ANY(ARRAY(
        SELECT id FROM webhook_recoveries
        WHERE finished_at < clock_timestamp() - make_interval(days => :days)
        ORDER BY finished_at LIMIT :most FOR UPDATE SKIP LOCKED
    ))
""")


@dataclass(frozen=True, slots=True)
class Recovery:
    """One recovery. `after_at` and `after_id` say how far it has come; None: it has not begun.

    `redelivered` deliveries are due again; `skipped` ones had too many attempts already.
    """

    id: UUID
    account_id: UUID
    since: datetime
    until: datetime
    after_at: datetime | None
    after_id: UUID | None
    redelivered: int
    skipped: int
    created_at: datetime
    finished_at: datetime | None


def start(connection: Connection, account_id: UUID, since: datetime, until: datetime) -> Recovery | None:
    """Ask for a recovery; None: the range is empty, because it ends with this moment at the latest."""
    asked = {"id": new_id(), "account_id": account_id, "since": since, "until": until}
    row = connection.execute(_START, asked).one_or_none()
    return Recovery(*row) if row else None


def count_running(connection: Connection, account_id: UUID) -> int:
    """How many recoveries of an account are not finished; until the commit nobody else counts them."""
    connection.execute(_LOCK_ACCOUNT, {"id": account_id})
    return connection.execute(_RUNNING, {"account_id": account_id}).scalar_one()


def read(connection: Connection, account_id: UUID, recovery_id: UUID) -> Recovery | None:
    """A recovery of an account."""
    row = connection.execute(_READ, {"id": recovery_id, "account_id": account_id}).one_or_none()
    return Recovery(*row) if row else None


def any_is_running(connection: Connection) -> bool:
    """Whether some recovery is not finished."""
    statement = text("SELECT EXISTS (SELECT FROM webhook_recoveries WHERE finished_at IS NULL)")
    return connection.execute(statement).scalar_one()


def take(connection: Connection) -> Recovery | None:
    """Lock the recovery that has waited longest for its next step; None: nobody waits for one."""
    row = connection.execute(_TAKE).one_or_none()
    return Recovery(*row) if row else None


def advance(  # noqa: PLR0913  # what a step did
    connection: Connection,
    recovery: Recovery,
    *,
    redelivered: int,
    skipped: int,
    after: tuple[datetime | None, UUID | None],
    over: bool,
) -> None:
    """Record a step of a locked recovery."""
    done = {"redelivered": redelivered, "skipped": skipped, "after_at": after[0], "after_id": after[1]}
    connection.execute(_ADVANCE, done | {"id": recovery.id, "over": over})


def forget(connection: Connection, days: int, most: int) -> int:
    """Delete up to `most` recoveries that were finished `days` ago; how many."""
    return connection.execute(_FORGET, {"days": days, "most": most}).rowcount
