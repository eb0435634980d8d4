"""Row `turns`: whose job goes next while a backfill of a million jobs waits, in running processes.

At a deployment of 2 RPM the million waits, and now and then an interactive job is submitted, which must get
the next grant. Another deployment serves ten accounts of equal weight with backlogs of different size; the
grants that each gets in a minute may differ by a factor of 1.2.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import UUID

from bench.stack import KEY, Stack, deployment, running
from bench.table import Line
from imagequeue.domain.jobs import Lane

SCARCE, PLENTY = "microsoft-mai-image-2-5", "microsoft-mai-image-2e"
RPM, PLENTY_RPM = 2, 600
"""Calls a minute of the deployment with the backfill, and of the one with the ten accounts."""
BATCH = 1_000_000
BACKLOGS = (200, 200, 200, 220, 220, 250, 300, 500, 1_000, 5_000)
"""Jobs of each account: each has more than its share of a minute, which is 60."""
TRIALS = 3
"""Interactive jobs, one after the other: at 2 RPM each takes half a minute."""
MINUTE_SECONDS, WARM_UP_SECONDS = 60.0, 5.0
PATIENCE_SECONDS = 90.0
"""For each wait, until the row has failed: at 2 RPM a grant comes within 30 s."""
TARGET_FACTOR = 1.2
"""Between the most and the fewest grants of an account in a minute."""

_MILLION = (
    """
    INSERT INTO flows (model_id, requirement, account_id, lane)
    VALUES (:model, 'generate/auto/1/png/0/4000', :account_id, 'backfill')
    """,
    # Ids as UUIDv7 has them: they grow with time, a millisecond for each.
    """
    INSERT INTO jobs (id, account_id, flow_id, status, image_count, wanted, price_usd)
    SELECT (
            lpad(to_hex((extract(epoch FROM now() - interval '1 hour') * 1000)::bigint + number), 12, '0')
            || '7000' || '8' || lpad(to_hex(flows.id), 15, '0')
        )::uuid,
        account_id, flows.id, 'QUEUED', 1, 1, 0
    FROM flows CROSS JOIN generate_series(1, :batch) AS number
    WHERE lane = 'backfill'
    """,
    """
    INSERT INTO job_requests (job_id, prompt, parameters, dialect)
    SELECT jobs.id, 'backfill', (SELECT parameters FROM job_requests LIMIT 1), 'pixazo'
    FROM jobs JOIN flows ON flows.id = flow_id WHERE lane = 'backfill'
    """,
    "ANALYZE",
)


_LATER = """
    SELECT job_id FROM attempts
    WHERE deployment = 'scarce' AND created_at > (SELECT created_at FROM jobs WHERE id = :id)
    ORDER BY created_at
"""


def run() -> list[Line]:
    """Measure both on one stack."""
    with running(_upstreams(), [SCARCE, PLENTY], _catalog()) as stack:
        accounts = [stack.open_account(f"account {number}") for number in range(len(BACKLOGS))]
        for account_id, count in zip(accounts, BACKLOGS, strict=True):
            stack.submit(count, PLENTY, account_id=account_id)
        values = {"model": SCARCE, "account_id": stack.account_id, "batch": BATCH}
        stack.execute(_MILLION, **values)
        stack.start("dispatcher")
        stack.start("worker", "--concurrency", "64")
        stack.wait_for("SELECT count(*) FROM attempts WHERE deployment = 'scarce'", RPM, PATIENCE_SECONDS)
        began = _now(stack) + WARM_UP_SECONDS
        trials = [_is_next(stack, number) for number in range(TRIALS)]
        time.sleep(max(0.0, began + MINUTE_SECONDS - _now(stack)))
        shares = _shares(stack, began)
    return [*_lines(trials, [shares.get(account_id, 0) for account_id in accounts])]


def _now(stack: Stack) -> float:
    return float(stack.rows("SELECT extract(epoch FROM clock_timestamp())")[0][0])


def _is_next(stack: Stack, number: int) -> bool:
    """Whether the first grant after an interactive job's submit is that job's."""
    account_id = stack.open_account(f"interactive {number}")
    (job_id,) = stack.submit(1, SCARCE, account_id=account_id, lane=Lane.INTERACTIVE)
    stack.wait_for(f"SELECT count(*) FROM ({_LATER}) AS later", 1, PATIENCE_SECONDS, id=job_id)  # noqa: S608
    return stack.rows(_LATER, id=job_id)[0][0] == job_id


def _shares(stack: Stack, began: float) -> dict[UUID, int]:
    """Calls that were granted to each account in the minute from `began` on (seconds, database's clock)."""
    rows = stack.rows(
        """
        SELECT account_id, count(*) FROM attempts JOIN jobs ON jobs.id = job_id
        WHERE deployment = 'plenty'
            AND attempts.created_at BETWEEN to_timestamp(:began) AND to_timestamp(:began + :minute)
        GROUP BY account_id
        """,
        began=began,
        minute=MINUTE_SECONDS,
    )
    return {row[0]: row[1] for row in rows}


def _lines(trials: list[bool], shares: list[int]) -> Iterator[Line]:
    won = f"{sum(trials)} of {len(trials)}"
    what = f"an interactive job before {BATCH:,} of backfill at {RPM} RPM gets the next grant"
    yield Line("turns", what, won, f"{len(trials)} of {len(trials)}", all(trials))
    factor = max(shares) / max(1, min(shares))
    what = f"{len(shares)} equal accounts, calls in a minute ({min(shares)} to {max(shares)}): factor"
    yield Line("turns", what, f"{factor:.3f}", f"<= {TARGET_FACTOR}", factor <= TARGET_FACTOR)


def _upstreams() -> dict[str, object]:
    return {
        name: {
            "provider": "foundry",
            "keys": [KEY],
            "models": {"mai": {"rpm": rpm, "latency_ms": [100, 400]}},
        }
        for name, rpm in (("scarce", RPM), ("plenty", PLENTY_RPM))
    }


def _catalog() -> str:
    return deployment("scarce", SCARCE, RPM) + deployment("plenty", PLENTY, PLENTY_RPM)
