"""A wallet that somebody has locked keeps the sweep from no job of another account."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from imagequeue.lifecycle.sweep.overdue import end_overdue
from tests import builders
from tests.lifecycle.steps import calling
from tests.locks import WALLET, holding
from tests.media.pictures import picture
from tests.pipeline import Pipeline


def overdue(pipeline: Pipeline) -> UUID:
    (job_id,) = pipeline.submit(finish_by=datetime.now(UTC) + timedelta(minutes=1))
    pipeline.execute("UPDATE jobs SET finish_by = clock_timestamp() - interval '1 s'")
    return job_id


def used_up(pipeline: Pipeline) -> UUID:
    (job_id,) = pipeline.submit()
    pipeline.execute("UPDATE jobs SET status = 'PROCESSING' WHERE id = :id", id=job_id)
    pipeline.execute(
        """
        INSERT INTO job_failures (job_id, deployment, failures, not_before)
        VALUES (:id, 'foundry-test', 99, clock_timestamp())
    """,
        id=job_id,
    )
    return job_id


def orphaned(pipeline: Pipeline) -> UUID:
    """With its image stored, so that its rescue ends the job."""
    job_id, attempt_id = calling(pipeline)
    key = f"v1/{builders.MODEL}_{job_id}/{attempt_id}/output.png"
    pipeline.runtime.storage.put(key, picture(), "image/png")
    return job_id


Step = tuple[Callable[[Pipeline], UUID], Callable[[Pipeline], int]]
STEPS: dict[str, Step] = {
    "overdue": (overdue, lambda of: end_overdue(of.runtime.engine, of.settlement)),
    "more overdue than one look takes": (
        overdue,
        lambda of: end_overdue(of.runtime.engine, of.settlement, at_once=2),
    ),
    "used up": (used_up, lambda of: of.sweep.end_used_up()),
    "orphaned": (orphaned, lambda of: of.sweep.recover()),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_locked_wallet_holds_up_the_jobs_of_its_own_account_alone(pipeline: Pipeline, step: str) -> None:
    wait, sweep = STEPS[step]
    locked, mine = pipeline.account_id, [wait(pipeline) for _ in range(3)]
    pipeline.account_id, _ = builders.account(pipeline.runtime.engine, "other", "10")
    others = [wait(pipeline) for _ in range(2)]
    pipeline.execute("DELETE FROM processes")
    before = {job_id: pipeline.status(job_id) for job_id in mine}
    with holding(pipeline.runtime.engine, WALLET, account_id=locked):
        assert sweep(pipeline) == len(others)
        assert {pipeline.status(job_id) for job_id in others} <= {"ERROR", "COMPLETED"}
        assert {job_id: pipeline.status(job_id) for job_id in mine} == before
    assert sweep(pipeline) == len(mine)
    assert {pipeline.status(job_id) for job_id in mine} <= {"ERROR", "COMPLETED"}
