"""What tests of several verbs do by hand: begin a call, end a back-off, look into the wallet."""

from __future__ import annotations

from uuid import UUID

from imagequeue.store.attempts import calls
from tests.pipeline import Pipeline

UNTOUCHED = [(1000, 0, 0)]
"""The wallet of a pipeline's account while no job holds or has spent any of it, in USD."""


def wallet(pipeline: Pipeline) -> list[object]:
    """What the account has available, held and spent, in USD."""
    return pipeline.rows(
        "SELECT available, held, spent FROM wallets WHERE account_id = :id", id=pipeline.account_id
    )


def end_back_off(pipeline: Pipeline) -> None:
    """Let every job be tried again at once."""
    pipeline.execute("UPDATE job_failures SET not_before = clock_timestamp()")


def calling(pipeline: Pipeline, process_id: UUID | None = None) -> tuple[UUID, UUID]:
    """A job, and its attempt that a process is calling."""
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    (doorbell,) = pipeline.rung
    pipeline.rung.clear()
    with pipeline.runtime.engine.begin() as connection:
        assert calls.start(connection, doorbell.attempt_id, process_id or pipeline.process_id, 180)
    return job_id, doorbell.attempt_id
