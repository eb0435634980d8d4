"""Redis emptied in the middle of 200 jobs: nothing is lost, nothing doubled, and it goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from decimal import Decimal

import psycopg
import pytest
from redis import Redis

from tests.e2e.conftest import Receiver
from tests.e2e.live import LiveStack, job_ids

pytestmark = pytest.mark.long

PRICE = Decimal("0.039")
JOBS = 200
RECOVERY_SECONDS = 30


def test_an_emptied_redis_costs_half_a_minute_and_no_job(stack: LiveStack, receiver: Receiver) -> None:
    submitted = stack.submit(JOBS, {"X-Webhook-URL": receiver.url})
    emptied = time.time()
    file = json.loads((stack.directory / "stack.json").read_text())
    with Redis.from_url(file["redis_url"]) as redis:  # pyright: ignore[reportUnknownMemberType]
        redis.flushall()  # pyright: ignore[reportUnknownMemberType]
    assert set(stack.statuses(submitted)) == {"COMPLETED"}
    assert _late_and_more_calls(file["database_url"], submitted, emptied) == (0, 0)
    assert _captured(file["database_url"], submitted) == JOBS * PRICE
    assert receiver.wait_for(JOBS, 120)
    assert len(set(receiver.ids)) == JOBS


def _late_and_more_calls(database_url: str, submitted: Sequence[str], emptied: float) -> tuple[int, int]:
    """Of these jobs: calls that were granted before and started too late, and calls that brought nothing."""
    values = {
        "jobs": job_ids(submitted),
        "emptied": emptied,
        "seconds": RECOVERY_SECONDS,
    }
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            """
            SELECT count(*) FILTER (
                    WHERE created_at < to_timestamp(%(emptied)s)
                        AND called_at > to_timestamp(%(emptied)s + %(seconds)s)
                ), count(*) FILTER (WHERE state NOT IN ('SUCCEEDED', 'GIVEN_BACK'))
            FROM attempts WHERE job_id = ANY(CAST(%(jobs)s AS uuid[]))
            """,
            values,
        ).fetchone()
    assert found
    return found[0], found[1]


def _captured(database_url: str, submitted: Sequence[str]) -> Decimal:
    """What these jobs were charged, in USD: other tests' jobs on the same stack may still run."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT sum(captured) FROM ledger_entries WHERE job_id = ANY(CAST(%s AS uuid[]))",
            [job_ids(submitted)],
        ).fetchone()
    assert found
    return found[0]
