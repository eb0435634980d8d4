"""A call in doubt waits for its upstream to call back: whoever comes first, one submit is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.upstream import Ambiguous, Throttled, Unavailable
from imagequeue.domain.verdicts import GivenBack, NotCalledBack
from tests.builders import MODEL, catalog
from tests.lifecycle.generate.calling_back import REFERENCE, Queue
from tests.pipeline import RunningPipeline

MakeQueue = Callable[..., Queue]


@pytest.fixture
def make_queue(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[MakeQueue]:
    running = list[RunningPipeline]()

    def make(**deployment: Any) -> Queue:
        terms: dict[str, Any] = {"provider": "pixazo", "upstream_model": MODEL, "callbacks": True}
        terms |= deployment
        running.append(RunningPipeline(engine, database_url, tmp_path, upstream="pixazo", **terms))
        return Queue(running[-1].__enter__())

    yield make
    for context in running:
        context.__exit__(None, None, None)


@pytest.fixture
def queue(make_queue: MakeQueue) -> Queue:
    return make_queue()


def test_a_call_whose_answer_was_lost_sleeps_until_its_upstream_calls_back(queue: Queue) -> None:
    job_id, attempt_id = queue.in_doubt()
    assert queue.state() == ("SLEEPING", None)
    assert queue.attempt().at_the_deadline
    assert queue.ring_due() == 0
    queue.call_back(attempt_id, queue.pipeline.calls()[0]["reference"])
    assert queue.wakes
    assert queue.ring_due() == 1
    assert (queue.pipeline.status(job_id), queue.pipeline.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert queue.submits() == 1


def test_a_doorbell_that_comes_too_soon_changes_nothing(queue: Queue) -> None:
    _, attempt_id = queue.in_doubt()
    queue.pipeline.generation.run(attempt_id)
    assert queue.state() == ("SLEEPING", None)


def test_without_a_callback_the_call_is_unknown_at_its_deadline_and_made_again(queue: Queue) -> None:
    job_id, _ = queue.in_doubt()
    queue.pass_the_deadline()
    assert queue.ring_due() == 1
    assert queue.pipeline.states(job_id) == ["UNKNOWN"]
    assert queue.pipeline.rows("SELECT failures, deaths, wanted FROM jobs") == [(1, 0, 1)]
    queue.pipeline.execute("UPDATE job_failures SET not_before = clock_timestamp()")
    queue.pipeline.run()
    queue.pipeline.poll()
    assert queue.pipeline.status(job_id) == "COMPLETED"
    assert queue.submits() == 2


def test_without_a_callback_it_is_not_made_again_where_that_is_forbidden(make_queue: MakeQueue) -> None:
    queue = make_queue(retry_ambiguous=False)
    job_id, _ = queue.in_doubt()
    assert queue.pipeline.status(job_id) == "PROCESSING"
    queue.pass_the_deadline()
    queue.ring_due()
    assert (queue.pipeline.status(job_id), queue.submits()) == ("ERROR", 1)


def test_an_upstream_that_may_not_call_back_is_not_waited_for(make_queue: MakeQueue) -> None:
    queue = make_queue(callbacks=False)
    queue.in_doubt()
    assert queue.state() == ("UNKNOWN", None)


def test_a_deployment_hears_of_the_doubt_at_once_and_once(queue: Queue) -> None:
    known = "SELECT failures FROM deployment_states"
    queue.in_doubt()
    assert queue.pipeline.rows(known) == [(1,)]
    queue.pass_the_deadline()
    queue.ring_due()
    assert queue.pipeline.rows(known) == [(1,)]


def test_the_callback_comes_while_the_call_is_in_flight_and_then_the_answer(queue: Queue) -> None:
    ticket = queue.calling()
    queue.call_back(ticket.attempt_id)
    assert queue.state() == ("CALLING", REFERENCE)
    queue.answer(ticket)
    assert queue.state() == ("SLEEPING", REFERENCE)
    assert queue.attempt().due, "the result is there: it has called back"


def test_the_answer_comes_and_then_the_callback(queue: Queue) -> None:
    ticket = queue.calling()
    queue.answer(ticket)
    assert not queue.attempt().due
    queue.call_back(ticket.attempt_id)
    assert queue.state() == ("SLEEPING", REFERENCE)
    assert queue.attempt().due
    assert queue.wakes


@pytest.mark.parametrize("state", ["CALLING", "SLEEPING"])
def test_another_reference_than_the_one_that_is_known_is_ignored(queue: Queue, state: str) -> None:
    ticket = queue.calling()
    if state == "SLEEPING":
        queue.answer(ticket)
    else:
        queue.call_back(ticket.attempt_id)
    queue.wakes.clear()
    queue.call_back(ticket.attempt_id, f"{MODEL}_2")
    assert queue.state() == (state, REFERENCE)
    assert not queue.attempt().due
    assert not queue.wakes


def test_the_callback_comes_and_then_the_connection_breaks(queue: Queue) -> None:
    ticket = queue.calling()
    queue.call_back(ticket.attempt_id)
    queue.settle(ticket, Ambiguous("reset"))
    assert queue.state() == ("SLEEPING", REFERENCE)
    assert queue.attempt().due


def test_the_callback_comes_and_then_the_process_dies(queue: Queue) -> None:
    ticket = queue.calling(other := queue.register_another())
    queue.call_back(ticket.attempt_id)
    queue.die(other)
    assert queue.state() == ("SLEEPING", REFERENCE)
    assert queue.attempt().due
    assert queue.pipeline.rows("SELECT deaths, failures, wanted FROM jobs") == [(0, 0, 0)]


def test_a_reference_is_used_also_when_callbacks_were_switched_off_since(queue: Queue) -> None:
    ticket = queue.calling(other := queue.register_another())
    queue.call_back(ticket.attempt_id)
    queue.pipeline.runtime.catalog = catalog(provider="pixazo")
    queue.die(other)
    assert queue.state() == ("SLEEPING", REFERENCE)


def test_an_orphan_waits_with_its_token_out_and_its_job_lacks_no_image(queue: Queue) -> None:
    ticket = queue.orphan()
    row = queue.attempt()
    assert (row.state, row.sent_at, row.at_the_deadline, row.token_is_out) == ("SLEEPING", None, True, True)
    assert queue.pipeline.rows("SELECT deaths, failures, wanted FROM jobs") == [(0, 0, 0)]
    assert queue.pipeline.sweep.recover() == 0
    assert queue.pipeline.dispatch.run_once() == 0
    queue.call_back(ticket.attempt_id)
    assert queue.state() == ("SLEEPING", REFERENCE)
    assert queue.attempt().due


def test_an_orphan_whose_upstream_never_calls_back_counts_as_a_death(queue: Queue) -> None:
    queue.orphan()
    queue.pass_the_deadline()
    queue.ring_due()
    assert queue.state() == ("UNKNOWN", None)
    assert queue.pipeline.rows("SELECT deaths, failures, wanted FROM jobs") == [(1, 1, 1)]
    assert queue.pipeline.rows("SELECT count(*) FROM deployment_states") == [(0,)], "it is not to blame"


def test_the_deadline_is_that_of_the_call_however_often_its_process_renewed_it(queue: Queue) -> None:
    ticket = queue.calling()
    queue.pipeline.execute("UPDATE attempts SET call_deadline = call_deadline + interval '1 hour'")
    queue.settle(ticket, Ambiguous("reset"))
    (row,) = queue.pipeline.rows(
        "SELECT poll_after - called_at = interval '180 s', call_deadline - called_at = interval '180 s'"
        " FROM attempts"
    )
    assert row == (True, True)


def test_a_callback_in_the_last_moment_is_not_overlooked(queue: Queue) -> None:
    """Between the reading of an attempt that is overdue, and the settling of what comes of that."""
    ticket = queue.orphan()
    queue.pass_the_deadline()
    queue.call_back(ticket.attempt_id)
    queue.settle(ticket, NotCalledBack("it has not"))
    assert queue.state() == ("SLEEPING", REFERENCE)


def test_the_process_that_was_taken_for_dead_brings_the_answer(queue: Queue) -> None:
    ticket = queue.calling(other := queue.register_another())
    queue.die(other)
    queue.answer(ticket, other)
    assert queue.state() == ("SLEEPING", REFERENCE)


@pytest.mark.parametrize("learned", [False, True])
def test_its_doubt_changes_nothing(queue: Queue, *, learned: bool) -> None:
    ticket = queue.calling(other := queue.register_another())
    queue.die(other)
    if learned:
        queue.call_back(ticket.attempt_id)
    queue.settle(ticket, Ambiguous("reset"), other)
    assert queue.state() == ("SLEEPING", REFERENCE if learned else None)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Throttled("429"), "THROTTLED"),
        (Unavailable("503"), "UNAVAILABLE"),
        (GivenBack("too late for its start", started=True), "GIVEN_BACK"),
    ],
    ids=["throttled", "unavailable", "given back"],
)
def test_what_it_knows_ends_the_waiting(queue: Queue, outcome: Any, state: str) -> None:
    ticket = queue.calling(other := queue.register_another())
    queue.die(other)
    queue.settle(ticket, outcome, other)
    assert queue.state() == (state, None)


def test_what_it_knows_ends_nothing_once_the_upstream_has_called_back(queue: Queue) -> None:
    ticket = queue.orphan()
    queue.call_back(ticket.attempt_id)
    queue.settle(ticket, Unavailable("503"))
    assert queue.state() == ("SLEEPING", REFERENCE)


def test_a_job_that_ends_leaves_nothing_waiting(queue: Queue) -> None:
    job_id, attempt_id = queue.in_doubt()
    assert queue.pipeline.settlement.end([job_id], JobStatus.FAILED, "cancelled") == [job_id]
    queue.call_back(attempt_id)
    assert queue.state() == ("LOST", None)
    assert not queue.wakes
    assert queue.pipeline.rows("SELECT available, held, spent FROM wallets") == [(1000, 0, 0)]


def test_the_orphan_of_a_final_job_is_closed_whatever_is_known_of_it(queue: Queue) -> None:
    ticket = queue.calling(other := queue.register_another())
    queue.pipeline.settlement.end([ticket.job_id], JobStatus.FAILED, "cancelled")
    queue.call_back(ticket.attempt_id)
    queue.die(other)
    assert queue.state() == ("UNKNOWN", REFERENCE)


def test_a_callback_about_a_closed_or_an_unknown_attempt_is_for_nothing(queue: Queue) -> None:
    ticket = queue.calling()
    queue.settle(ticket, Unavailable("503"))
    queue.call_back(ticket.attempt_id)
    queue.call_back(new_id())
    assert queue.state() == ("UNAVAILABLE", None)
    assert not queue.wakes


@pytest.mark.parametrize("reference", [None, 7, "", "../v1/models"])
def test_a_callback_that_names_no_request_is_refused(queue: Queue, reference: object) -> None:
    ticket = queue.calling()
    with pytest.raises(InvalidRequest, match="names no request"):
        queue.call_back(ticket.attempt_id, reference)
    assert queue.state() == ("CALLING", None)
