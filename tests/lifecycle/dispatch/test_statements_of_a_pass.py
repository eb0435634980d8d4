"""How many statements a pass of the dispatcher sends, which is most of what a stack without work costs."""

from __future__ import annotations

from sqlalchemy import event

from tests.pipeline import Pipeline

OF_A_GRANT = 8
"""The flows, the groups, the limits; the lock, the group again, the job, the claim and the last start."""


def statements_of_a_pass(pipeline: Pipeline) -> tuple[int, int]:
    """How many attempts the pass released, and how many statements it sent."""
    sent, engine = list[str](), pipeline.runtime.engine

    def note(*given: str) -> None:
        sent.append(given[2])

    pipeline.beat()
    event.listen(engine, "before_cursor_execute", note)
    try:
        released = pipeline.dispatch.run_once()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return released, len([one for one in sent if "beat_at = clock_timestamp()" not in one])


def test_a_pass_after_one_that_found_nothing_asks_once(pipeline: Pipeline) -> None:
    assert pipeline.dispatch.run_once() == 0
    assert statements_of_a_pass(pipeline) == (0, 1)


def test_a_job_that_comes_alone_takes_a_few_statements(pipeline: Pipeline) -> None:
    pipeline.submit()
    assert pipeline.dispatch.run_once() == 1  # the flow is learned
    assert pipeline.dispatch.run_once() == 0
    pipeline.submit()
    assert statements_of_a_pass(pipeline) == (1, OF_A_GRANT)


def test_nothing_is_missed_by_a_pass_that_looks_for_jobs_first(pipeline: Pipeline) -> None:
    assert pipeline.dispatch.run_once() == 0
    pipeline.submit(3)
    assert pipeline.dispatch.run_once() == 3
    assert pipeline.dispatch.run_once() == 0
    pipeline.submit(2)
    assert pipeline.dispatch.run_once() == 2
