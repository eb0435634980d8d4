"""A prompt that an upstream's moderation answers with 429s: it costs its own job, and holds up no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.domain.upstream_throttling import ALONE
from tests import builders, fleet
from tests.lifecycle.steps import end_back_off
from tests.pipeline import Pipeline

ONE: dict[str, dict[str, Any]] = {"east": {"rpm": 1000, "pace": False}}
MAX_ATTEMPTS = 6


@pytest.fixture
def single(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """One deployment, whose upstream answers a prompt with "poison" in it with a 429 every time."""
    with fleet.pipeline(engine, database_url, tmp_path, ONE) as made:
        made.fault(kind="status", status=429, match={"prompt_contains": "poison"})
        yield made


def end_pause(of: Pipeline) -> None:
    of.execute("UPDATE quota_groups SET blocked_until = NULL, last_slot_at = NULL")


def step(of: Pipeline) -> None:
    """The pause is over; what may start, starts and is answered."""
    end_pause(of)
    of.beat()
    of.dispatch.run_once()
    of.answer()


def poison(of: Pipeline) -> UUID:
    (job_id,) = of.submit(prompt="poison")
    return job_id


def pauses(of: Pipeline) -> int:
    return of.rows("SELECT throttled FROM quota_groups")[0].throttled


def drive(of: Pipeline, job_id: UUID, steps: int) -> list[UUID]:
    """Steps between which another job is submitted and served, until the job is final."""
    others = list[UUID]()
    for _ in range(steps):
        if of.status(job_id) not in ("QUEUED", "PROCESSING"):
            break
        step(of)
        others += of.submit()
        step(of)
        end_back_off(of)
    return others


def test_a_prompt_that_gets_429s_while_others_are_served_pauses_the_group_a_few_times_and_ends(
    single: Pipeline,
) -> None:
    job_id = poison(single)
    others = drive(single, job_id, 30)
    assert single.status(job_id) == "ERROR"
    made = [state for state in single.states(job_id) if state != "GIVEN_BACK"]
    assert made == ["THROTTLED"] * pauses(single) + ["UNAVAILABLE"] * MAX_ATTEMPTS
    assert ALONE <= pauses(single) <= ALONE + 2, "a 429 counts once another job was served after it"
    assert {single.status(other) for other in others[:-1]} == {"COMPLETED"}
    assert single.rows("SELECT count(*) FROM deployment_states") == [(0,)], "the deployment is not to blame"


def test_a_job_that_gets_a_second_429_is_not_the_first_call_after_the_pause(single: Pipeline) -> None:
    job_id = poison(single)
    others = single.submit(3)
    for _ in range(2 + len(others)):
        step(single)
    assert [single.status(other) for other in others] == ["COMPLETED"] * len(others)
    assert single.status(job_id) == "PROCESSING"


def test_other_prompts_of_an_account_that_sends_such_ones_do_not_pause_the_group_again(
    single: Pipeline,
) -> None:
    good, (bad, _) = single.account_id, builders.account(single.runtime.engine, "sends poison", "100")
    single.account_id = bad
    first = poison(single)
    single.account_id = good
    drive(single, first, 30)
    paused = pauses(single)
    single.account_id = bad
    more = [poison(single) for _ in range(3)]
    for _ in more:
        step(single)
    assert pauses(single) == paused
    assert {state for job_id in more for state in single.states(job_id)} == {"UNAVAILABLE"}
    single.account_id = good
    (stranger,) = single.submit(prompt="poison of another account")
    step(single)
    assert (single.states(stranger), pauses(single)) == (["THROTTLED"], paused + 1)


@pytest.mark.parametrize("times", [ALONE + 1, 8])
def test_429s_that_everybody_gets_cost_no_job_anything(
    engine: Engine, database_url: str, tmp_path: Path, times: int
) -> None:
    with fleet.pipeline(engine, database_url, tmp_path, ONE) as of:
        of.fault(kind="status", status=429, count=times)
        jobs = of.submit(2)
        for _ in range(2 * times + len(jobs)):
            step(of)
            end_back_off(of)
        assert [of.status(job_id) for job_id in jobs] == ["COMPLETED"] * 2
        assert pauses(of) == times
        assert of.rows("SELECT DISTINCT failures FROM jobs") == [(0,)]


def test_a_quota_that_is_used_up_is_the_groups_whoever_meets_it(single: Pipeline) -> None:
    job_id = poison(single)
    drive(single, job_id, ALONE)
    single.fault(kind="status", status=429, code="insufficient_quota", match={"prompt_contains": "used up"})
    (used_up,) = single.submit(prompt="used up")
    for _ in range(3):
        step(single)
    assert "UNAVAILABLE" not in single.states(used_up)
    assert single.rows("SELECT out_of_quota FROM quota_groups") == [(True,)]
