"""What one account sends takes a deployment from nobody else; what several accounts meet does."""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.domain.backoff import OPEN_BREAKER
from imagequeue.domain.breaker import Breaker
from imagequeue.store.attempts import deployments
from tests import builders, fleet
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long

ONE: dict[str, dict[str, Any]] = {"east": {"rpm": 1000, "pace": False, "timeout_seconds": 3.0}}

FAULTS: dict[str, dict[str, Any]] = {
    "a refusal in words that no list knows": {"status": 400, "code": "bad", "message": "Cannot do that"},
    "a refusal as unprocessable": {"status": 422, "code": "bad", "message": "Cannot do that"},
    "a firewall that answers as the upstream does": {"status": 403, "code": "no", "message": "Forbidden"},
    "a proxy that answers as the upstream does": {
        "status": 404,
        "code": "not_found",
        "message": "Not found",
    },
    "a fault of the upstream": {"status": 500},
    "an overload": {"status": 503},
    "an answer that is lost": {"status": 504},
    "a broken connection": {"kind": "reset"},
    "a page": {"kind": "html"},
    "no images": {"kind": "no_data"},
    "not an image": {"kind": "not_an_image"},
}


@pytest.fixture
def one(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """One deployment."""
    with fleet.pipeline(engine, database_url, tmp_path, ONE) as made:
        yield made


@pytest.fixture
def other(one: Pipeline) -> UUID:
    """Another account."""
    account_id, _ = builders.account(one.runtime.engine, "other", funds="1000")
    return account_id


@contextmanager
def acting_as(of: Pipeline, account_id: UUID) -> Generator[None]:
    """Submits are those of this account."""
    before, of.account_id = of.account_id, account_id
    try:
        yield
    finally:
        of.account_id = before


def poison(of: Pipeline, **fault: Any) -> None:
    """Every prompt with the word fails like this."""
    of.fault(**{"kind": "status", "match": {"prompt_contains": "poison"}, **fault})


def breaker(of: Pipeline) -> Breaker:
    with of.runtime.engine.connect() as connection:
        state = deployments.read_states(connection).get("east")
    return state.breaker if state else Breaker.CLOSED


def cooldown(of: Pipeline) -> float:
    """Seconds for which the breaker has opened last."""
    query = "SELECT extract(epoch FROM blocked_until - opened_at)::float8 FROM deployment_states"
    return of.rows(query)[0][0]


def call_once(of: Pipeline) -> None:
    of.beat()
    of.dispatch.run_once()
    of.answer()


def let_back_offs_pass(of: Pipeline) -> None:
    of.execute("UPDATE job_failures SET not_before = clock_timestamp()")


def is_served_now(of: Pipeline, account_id: UUID) -> bool:
    with acting_as(of, account_id):
        (job_id,) = of.submit(1, prompt="a lighthouse")
    call_once(of)
    return of.status(job_id) == "COMPLETED"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_twelve_prompts_of_one_account_that_fail_take_the_deployment_from_no_other_account(
    one: Pipeline, other: UUID, fault: dict[str, Any]
) -> None:
    assert is_served_now(one, other)
    poison(one, **fault)
    for number in range(12):
        one.submit(1, prompt=f"poison {number}")
    call_once(one)
    assert breaker(one) is Breaker.CLOSED
    assert len(one.rows("SELECT 1 FROM attempts")) == 13
    assert is_served_now(one, other)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_job_that_fails_where_others_are_served_ends(
    one: Pipeline, other: UUID, fault: dict[str, Any]
) -> None:
    assert is_served_now(one, other)
    poison(one, **fault)
    (job_id,) = one.submit(1, prompt="poison")
    for _ in range(8):
        call_once(one)
        assert is_served_now(one, other)
        let_back_offs_pass(one)
    assert one.status(job_id) in {"ERROR", "FAILED"}
    assert one.rows("SELECT error FROM job_results WHERE job_id = :id", id=job_id)[0].error


def test_ten_refused_prompts_of_an_account_that_nobody_followed_yet_delay_the_next_account_by_nothing(
    one: Pipeline, other: UUID
) -> None:
    poison(one, status=400, code="bad", message="Cannot do that")
    for number in range(10):
        one.submit(1, prompt=f"poison {number}")
    while one.rows("SELECT 1 FROM jobs WHERE finished_at IS NULL"):  # on a busy machine calls are given back
        call_once(one)
    assert breaker(one) is Breaker.OPEN
    one.submit(3, prompt="poison again")
    call_once(one)
    assert len(one.rows("SELECT 1 FROM attempts WHERE state = 'REFUSED'")) == 10  # its own jobs wait
    assert is_served_now(one, other)
    assert breaker(one) is Breaker.CLOSED


@pytest.mark.parametrize("fault", [FAULTS["an overload"], FAULTS["a refusal as unprocessable"]])
def test_one_prompt_again_and_again_is_no_evidence(one: Pipeline, fault: dict[str, Any]) -> None:
    poison(one, **fault)
    one.submit(12, prompt="poison")
    call_once(one)
    assert breaker(one) is Breaker.CLOSED


def test_the_only_account_finds_an_outage_with_one_prompt_at_a_time(one: Pipeline) -> None:
    one.fault(kind="status", status=503)
    for number in range(5):
        assert breaker(one) is Breaker.CLOSED
        one.submit(1, prompt=f"prompt {number}")
        call_once(one)
    assert breaker(one) is Breaker.OPEN


def test_an_outage_that_two_accounts_meet_opens_the_breaker(one: Pipeline, other: UUID) -> None:
    assert is_served_now(one, one.account_id)
    assert is_served_now(one, other)
    one.fault(kind="status", status=503)
    one.submit(3)
    with acting_as(one, other):
        one.submit(2)
    call_once(one)
    assert breaker(one) is Breaker.OPEN
    assert one.rows("SELECT opened_by FROM deployment_states") == [(None,)]


def test_the_first_cooldown_is_the_short_one_however_much_one_account_had_failed_before(
    one: Pipeline, other: UUID
) -> None:
    assert is_served_now(one, other)
    poison(one, status=503)
    for number in range(9):
        one.submit(1, prompt=f"poison {number}")
    call_once(one)
    assert breaker(one) is Breaker.CLOSED
    with acting_as(one, other):
        one.submit(1, prompt="poison again")
        one.submit(1, prompt="poison and again")
    call_once(one)
    assert 0 < cooldown(one) <= OPEN_BREAKER.first_seconds


@pytest.mark.parametrize("status", [401, 402])
def test_a_refused_key_takes_the_deployment_out_at_once_whoever_called(
    one: Pipeline, other: UUID, status: int
) -> None:
    assert is_served_now(one, other)
    one.fault(kind="status", status=status, code=str(status), message="Access denied")
    one.submit(1)
    call_once(one)
    assert breaker(one) is Breaker.OPEN
    assert not is_served_now(one, other)


@pytest.mark.parametrize("status", [403, 404])
def test_a_deployment_that_never_served_is_misconfigured_at_once(one: Pipeline, status: int) -> None:
    one.fault(kind="status", status=status, message="No such thing")
    (job_id,) = one.submit(1)
    call_once(one)
    assert breaker(one) is Breaker.OPEN
    assert one.states(job_id) == ["MISCONFIGURED"]


def test_where_nobody_listens_five_calls_of_one_account_are_enough(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and never listens: connections are refused
        closed = {"east": ONE["east"] | {"endpoint": f"http://127.0.0.1:{bound.getsockname()[1]}"}}
        with fleet.pipeline(engine, database_url, tmp_path, closed) as made:
            made.submit(5, prompt="always the same")
            call_once(made)
            assert breaker(made) is Breaker.OPEN


def test_a_breaker_that_one_account_has_opened_stays_with_it_until_another_one_fails_there(
    one: Pipeline, other: UUID
) -> None:
    one.fault(kind="status", status=503)
    one.submit(5)
    call_once(one)
    assert one.rows("SELECT opened_by FROM deployment_states") == [(one.account_id,)]
    assert not is_served_now(one, other)
    assert one.rows("SELECT opened_by, failures FROM deployment_states") == [(None, 5)]  # the same outage
    assert cooldown(one) <= OPEN_BREAKER.first_seconds
    one.heal()
    let_back_offs_pass(one)
    call_once(one)
    assert breaker(one) is Breaker.OPEN
