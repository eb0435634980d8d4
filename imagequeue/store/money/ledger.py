"""Money: `wallets.available` decides, the ledger proves it afterwards (docs/design/pipeline.md, "Money").

The invariant, which a test checks: available = sum of the entries' amounts, held = open holds, spent =
captured. Every function locks the wallets that it needs in the order of their accounts before it changes one,
so no two transactions deadlock. Nothing here commits: the caller's transaction does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, text

from imagequeue.domain.ids import new_id
from imagequeue.store.arrays import array
from imagequeue.store.tables import wallets


@dataclass(frozen=True, slots=True)
class Wallet:
    """Three amounts in USD: free to be held, held for open jobs, captured so far."""

    available: Decimal
    held: Decimal
    spent: Decimal


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money that an account gets; `amount` in USD, above zero."""

    account_id: UUID
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Hold:
    """The price of a job, put aside until the job ends; in USD."""

    job_id: UUID
    account_id: UUID
    amount: Decimal


@dataclass(frozen=True, slots=True)
class HoldEnd:
    """How a job's hold ends: captured (the whole amount, in USD), or void (None)."""

    job_id: UUID
    captured: Decimal | None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of the ledger; `amount` is what it does to `available`.

    `model_id` and `operation` are the job's; None where there is no job, as for a deposit.
    """

    id: UUID
    kind: str
    amount: Decimal
    captured: Decimal | None
    job_id: UUID | None
    created_at: datetime
    model_id: str | None
    operation: str | None


class HoldNotOpen(Exception):
    """A capture has no hold, or another amount than its hold."""


_LOCK = text("""
    SELECT account_id, available FROM wallets
    WHERE account_id = ANY(ARRAY(SELECT unnest(CAST(:account_ids AS uuid[]))))
    ORDER BY account_id FOR NO KEY UPDATE
""")

_DEPOSIT = text("""
    WITH entry AS (
        INSERT INTO ledger_entries (id, account_id, kind, amount)
        SELECT id, account_id, 'DEPOSIT', amount
        FROM unnest(CAST(:ids AS uuid[]), CAST(:account_ids AS uuid[]), CAST(:amounts AS numeric[]))
            AS new (id, account_id, amount)
        RETURNING account_id, amount
    ), total AS (SELECT account_id, sum(amount) AS amount FROM entry GROUP BY account_id)
    UPDATE wallets SET available = available + total.amount
    FROM total WHERE wallets.account_id = total.account_id
""")

_HOLD = text("""
    WITH entry AS (
        INSERT INTO ledger_entries (id, account_id, kind, amount, job_id)
        SELECT id, account_id, 'HOLD', -amount, job_id
        FROM unnest(CAST(:ids AS uuid[]), CAST(:account_ids AS uuid[]), CAST(:amounts AS numeric[]),
            CAST(:job_ids AS uuid[])) AS new (id, account_id, amount, job_id)
        RETURNING account_id, amount
    ), total AS (SELECT account_id, -sum(amount) AS amount FROM entry GROUP BY account_id)
    UPDATE wallets SET available = available - total.amount, held = held + total.amount
    FROM total WHERE wallets.account_id = total.account_id
""")

_LOCK_WITH_HOLDS = text("""
    SELECT hold.id, hold.account_id, hold.job_id, -hold.amount AS amount
    FROM ledger_entries AS hold JOIN wallets ON wallets.account_id = hold.account_id
    WHERE kind = 'HOLD' AND job_id = ANY(:job_ids)
    ORDER BY hold.account_id FOR NO KEY UPDATE OF wallets
""")

_END = text("""
    WITH entry AS (
        INSERT INTO ledger_entries (id, account_id, kind, amount, captured, job_id, hold_id)
        SELECT id, account_id, CASE WHEN captured IS NULL THEN 'VOID' ELSE 'CAPTURE' END,
            CASE WHEN captured IS NULL THEN amount ELSE 0 END, captured, job_id, hold_id
        FROM unnest(CAST(:ids AS uuid[]), CAST(:account_ids AS uuid[]), CAST(:amounts AS numeric[]),
            CAST(:captured AS numeric[]), CAST(:job_ids AS uuid[]), CAST(:hold_ids AS uuid[]))
            AS new (id, account_id, amount, captured, job_id, hold_id)
        RETURNING account_id, amount, captured
    ), total AS (
        SELECT account_id, sum(amount) AS voided, coalesce(sum(captured), 0) AS captured
        FROM entry GROUP BY account_id
    )
    UPDATE wallets SET available = available + voided, held = held - voided - captured,
        spent = spent + captured
    FROM total WHERE wallets.account_id = total.account_id
""")

_RECENT = text("""
    SELECT entry.id, kind, amount, captured, job_id, entry.created_at, model_id,
        split_part(requirement, '/', 1) AS operation
    FROM ledger_entries AS entry
    LEFT JOIN jobs ON jobs.id = job_id
    LEFT JOIN flows ON flows.id = flow_id
    WHERE entry.account_id = :account_id ORDER BY entry.id DESC LIMIT :limit
""")


def deposit(connection: Connection, deposits: Sequence[Deposit]) -> None:
    """Put money into wallets."""
    _lock(connection, {one.account_id for one in deposits})
    connection.execute(
        _DEPOSIT,
        {
            "ids": [new_id() for _ in deposits],
            "account_ids": [one.account_id for one in deposits],
            "amounts": [one.amount for one in deposits],
        },
    )


def place_holds(connection: Connection, holds: Sequence[Hold]) -> set[UUID]:
    """Hold the price of each job while its wallet has enough, in the order given.

    Returns the jobs whose price is held; for the others the wallet had too little. A smaller hold behind one
    that did not fit may still fit.
    """
    if not holds:
        return set()
    available = _lock(connection, {hold.account_id for hold in holds})
    placed: list[Hold] = []
    for hold in holds:
        if hold.amount <= available[hold.account_id]:
            available[hold.account_id] -= hold.amount
            placed.append(hold)
    if placed:
        _insert_holds(connection, placed)
    return {hold.job_id for hold in placed}


def lock_available(connection: Connection, account_id: UUID) -> Decimal:
    """Lock a wallet until the transaction ends; what it has available, in USD."""
    return _lock(connection, [account_id])[account_id]


def _with_their_holds(connection: Connection, ends: Sequence[HoldEnd]) -> list[tuple[HoldEnd, Row[Any]]]:
    """The ends of jobs that have a hold, each with it; their wallets are locked, sorted by account.

    Raises:
        HoldNotOpen: a capture has no hold, or differs from it.
    """
    ids = [end.job_id for end in ends]
    holds = {row.job_id: row for row in connection.execute(_LOCK_WITH_HOLDS, {"job_ids": ids})}
    for end in ends:
        hold = holds.get(end.job_id)
        if end.captured is not None and (hold is None or hold.amount != end.captured):
            raise HoldNotOpen(f"job {end.job_id}: captured {end.captured}, held {hold and hold.amount}")
    return [(end, holds[end.job_id]) for end in ends if end.job_id in holds]


def end_holds(connection: Connection, ends: Sequence[HoldEnd]) -> None:
    """Capture or void the holds of jobs that end; a void for a job without a hold does nothing.

    Raises:
        HoldNotOpen: a capture has no hold, or differs from it.
        IntegrityError: a hold has ended before (UNIQUE (hold_id)), so no money is taken or returned twice.
    """
    found = _with_their_holds(connection, ends)
    if not found:
        return
    connection.execute(
        _END,
        {
            "ids": [new_id() for _ in found],
            "account_ids": [hold.account_id for _, hold in found],
            "amounts": [hold.amount for _, hold in found],
            "captured": [end.captured for end, _ in found],
            "job_ids": [end.job_id for end, _ in found],
            "hold_ids": [hold.id for _, hold in found],
        },
    )


def read_wallets(connection: Connection, account_ids: Sequence[UUID]) -> dict[UUID, Wallet]:
    """The wallets of accounts."""
    rows = connection.execute(select(wallets).where(wallets.c.account_id.in_(account_ids)))
    return {row.account_id: Wallet(row.available, row.held, row.spent) for row in rows}


def recent_entries(connection: Connection, account_id: UUID, limit: int) -> list[LedgerEntry]:
    """The last entries of an account's ledger, newest first."""
    rows = connection.execute(_RECENT, {"account_id": account_id, "limit": limit})
    return [LedgerEntry(*row) for row in rows]


def _lock(connection: Connection, account_ids: Iterable[UUID]) -> defaultdict[UUID, Decimal]:
    rows = connection.execute(_LOCK, {"account_ids": list(account_ids)})
    return defaultdict(lambda: Decimal(-1), {row.account_id: row.available for row in rows})


def _insert_holds(connection: Connection, holds: Sequence[Hold]) -> None:
    connection.execute(
        _HOLD,
        {
            "ids": array(new_id() for _ in holds),
            "account_ids": array(hold.account_id for hold in holds),
            "amounts": array(hold.amount for hold in holds),
            "job_ids": array(hold.job_id for hold in holds),
        },
    )
