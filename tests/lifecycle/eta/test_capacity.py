"""What the forecast counts on: quotas, slots, blocks, breakers, images per call, and what goes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue import wiring
from imagequeue.domain.forecast import Estimate
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.eta.capacity import FIRST_GUESS, TURNOVER
from tests import builders, fleet
from tests.pipeline import Pipeline, RunningPipeline

FAST = {"rpm": 600, "guard_ms": 0}
"""Ten calls a second, paced."""

Make = Callable[[dict[str, dict[str, Any]]], AbstractContextManager[Pipeline]]


@pytest.fixture
def make(engine: Engine, database_url: str, tmp_path: Path) -> Make:
    return lambda deployments: fleet.pipeline(engine, database_url, tmp_path, deployments)


@pytest.fixture
def fast(make: Make) -> Iterator[Pipeline]:
    with make({"east": FAST}) as made:
        yield made


@pytest.fixture
def two(make: Make) -> Iterator[Pipeline]:
    with make({"east": FAST, "west": FAST | {"rpm": 60}}) as made:
        yield made


def foreseen(of: Pipeline, job_ids: list[UUID]) -> list[Estimate]:
    """What is published for jobs of one flow."""
    of.beat()
    look = wiring.forecast_publisher(of.runtime, lambda: of.dispatch.eligibility).forecast()
    (row,) = of.rows("SELECT DISTINCT flow_id FROM jobs WHERE id = ANY(:ids)", ids=job_ids)
    return [look.estimate(row.flow_id, job_id, 0) for job_id in job_ids]


def etas(of: Pipeline, job_ids: list[UUID]) -> list[float]:
    """The same; somebody serves them all."""
    known = [one.eta_seconds for one in foreseen(of, job_ids)]
    found = [eta for eta in known if eta is not None]
    assert len(found) == len(known)
    return found


def calls_took(of: Pipeline, seconds: float) -> None:
    """Let one job be done, in a call that took so long, an hour ago."""
    of.submit(1)
    of.run()
    of.execute(
        """
        UPDATE attempts SET slot_at = slot_at - interval '1 hour',
            token_returns_at = token_returns_at - interval '1 hour',
            finished_at = slot_at - interval '1 hour' + make_interval(secs => :seconds)
        """,
        seconds=seconds,
    )
    of.execute("UPDATE quota_groups SET last_slot_at = NULL")


def block(of: Pipeline, group: str, seconds: float, *, out_of_quota: bool = False) -> None:
    of.execute(
        """
        UPDATE quota_groups SET out_of_quota = :out_of_quota,
            blocked_until = clock_timestamp() + make_interval(secs => :seconds)
        WHERE name = :name
        """,
        name=group,
        seconds=seconds,
        out_of_quota=out_of_quota,
    )


def open_breaker(of: Pipeline, deployment: str) -> None:
    of.execute(
        """
        INSERT INTO deployment_states (name, failures, opened_at, blocked_until)
        VALUES (:name, 5, clock_timestamp(), clock_timestamp() + interval '30 seconds')
        """,
        name=deployment,
    )


def test_the_quota_alone(fast: Pipeline) -> None:
    calls_took(fast, 1)
    found = etas(fast, fast.submit(200))
    assert found == pytest.approx([1 + number / 10 for number in range(200)], abs=0.5)


def test_a_call_at_a_time_takes_as_long_as_all_of_them_in_a_row(make: Make) -> None:
    with make({"east": FAST | {"max_in_flight": 1}}) as one_at_a_time:
        calls_took(one_at_a_time, 5)
        found = etas(one_at_a_time, one_at_a_time.submit(200))
    assert found[0] == pytest.approx(5, abs=0.5)
    assert found[-1] == pytest.approx(200 * (5 + TURNOVER), abs=5)


def test_one_deployment_does_not_get_all_slots_of_its_lane(fast: Pipeline) -> None:
    fast.execute("UPDATE processes SET slots = 32")
    calls_took(fast, 5)
    with fast.runtime.engine.connect() as connection:
        limit = ConcurrencyLimits.read(connection).limit(
            Lane.INTERACTIVE, fast.runtime.catalog.deployments[0]
        )
    found = etas(fast, fast.submit(200))
    assert limit < 5 * 10
    assert found[-1] == pytest.approx(200 / limit * (5 + TURNOVER), abs=6)


def test_the_slots_of_calls_in_flight_are_free_when_these_end(make: Make) -> None:
    with make({"east": FAST | {"max_in_flight": 1}}) as one_at_a_time:
        calls_took(one_at_a_time, 60)
        one_at_a_time.submit(1)
        one_at_a_time.dispatch.run_once()
        in_flight = "UPDATE attempts SET slot_at = slot_at - interval '20 s' WHERE state = 'RELEASED'"
        one_at_a_time.execute(in_flight)
        found = etas(one_at_a_time, one_at_a_time.submit(2))
    assert found == pytest.approx([40 + 60, 40 + 60 + 60], abs=2)


def test_without_workers_there_is_a_position_and_no_time(fast: Pipeline) -> None:
    jobs = fast.submit(2)
    fast.execute("UPDATE processes SET slots = 0")
    assert foreseen(fast, jobs) == [Estimate(1, None), Estimate(2, None)]


def test_a_blocked_group_counts_from_the_end_of_its_block(two: Pipeline) -> None:
    calls_took(two, 1)
    jobs = two.submit(300)
    block(two, "east", 120)
    beside = etas(two, jobs)
    assert beside[9] == pytest.approx(10, abs=2)  # by the other one, a call a second
    assert beside[100] == pytest.approx(101, abs=2)
    assert beside[-1] == pytest.approx(121 + 180 / 11, abs=3)
    block(two, "west", 60)
    assert etas(two, jobs)[9] == pytest.approx(70, abs=2)


def test_a_block_of_the_only_group_is_waited_for(fast: Pipeline) -> None:
    jobs = fast.submit(10)
    block(fast, "east", 120)
    assert etas(fast, jobs) == pytest.approx([120 + FIRST_GUESS + n / 10 for n in range(10)], abs=1)


def test_a_used_up_quota_does_not_count(two: Pipeline) -> None:
    calls_took(two, 1)
    jobs = two.submit(20)
    block(two, "east", 0, out_of_quota=True)
    assert etas(two, jobs) == pytest.approx([1 + number for number in range(20)], abs=2)
    block(two, "west", 900, out_of_quota=True)
    assert foreseen(two, jobs) == [Estimate(number, None) for number in range(1, 21)]


def test_an_open_breaker_does_not_count(two: Pipeline) -> None:
    calls_took(two, 1)
    jobs = two.submit(20)
    open_breaker(two, "east")
    assert etas(two, jobs) == pytest.approx([1 + number for number in range(20)], abs=2)
    open_breaker(two, "west")
    assert foreseen(two, jobs) == [Estimate(number, None) for number in range(1, 21)]


def test_images_of_one_call_wait_once(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """Pixazo takes four images a call, so ten take three."""
    pixazo: dict[str, Any] = {"upstream": "pixazo", "provider": "pixazo", "upstream_model": builders.MODEL}
    with RunningPipeline(engine, database_url, tmp_path, rpm=60, pace=True, **pixazo) as made:
        fours = foreseen(made, made.submit(10, image_count=4))
        assert [one.position for one in fours] == list(range(1, 11))
        assert fours[-1].eta_seconds == pytest.approx(9 + FIRST_GUESS, abs=1)
        made.execute("UPDATE jobs SET status = 'ERROR', wanted = 0, finished_at = now()")
        assert [one.position for one in foreseen(made, made.submit(3, image_count=10))] == [3, 6, 9]


def test_deployments_of_different_images_per_call_share_a_queue(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """Pixazo does four jobs of four images while Foundry does one: eight calls for five jobs."""
    pixazo = FAST | {"provider": "pixazo", "upstream_model": builders.MODEL}
    with RunningPipeline(
        engine,
        database_url,
        tmp_path,
        catalog=lambda url: fleet.catalog(url, {"east": FAST, "pixazo": pixazo}),
    ) as made:
        found = foreseen(made, made.submit(5, image_count=4))
    assert [one.position for one in found] == [2, 4, 5, 7, 8]


def test_jobs_that_want_another_call_go_first(fast: Pipeline) -> None:
    again, *others = fast.submit(3)
    fast.execute("UPDATE jobs SET status = 'PROCESSING' WHERE id = :id", id=again)
    assert [one.position for one in foreseen(fast, [again, *others])] == [1, 2, 3]
    fast.execute("UPDATE jobs SET wanted = 0 WHERE id = :id", id=again)
    assert [one.position for one in foreseen(fast, others)] == [1, 2]


def test_before_any_call_has_ended_a_running_one_tells_how_long_they_take(fast: Pipeline) -> None:
    first, *others = fast.submit(2)
    assert etas(fast, [first, *others]) == pytest.approx([FIRST_GUESS, FIRST_GUESS + 0.1], abs=0.5)
    fast.dispatch.at_once = 1
    fast.dispatch.run_once()
    fast.execute(
        """
        UPDATE attempts SET state = 'CALLING', process_id = :id, called_at = now(),
            slot_at = slot_at - interval '20 s'
        """,
        id=fast.process_id,
    )
    assert etas(fast, others) == pytest.approx([20], abs=1)


def test_a_deployment_without_history_is_judged_by_the_others_of_its_model(two: Pipeline) -> None:
    calls_took(two, 30)
    (known,) = two.rows("SELECT deployment FROM attempts")
    open_breaker(two, known.deployment)
    assert etas(two, two.submit(1)) == pytest.approx([30], abs=1)
