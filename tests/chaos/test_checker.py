"""The checker finds what is wrong: every invariant is violated once, by one change to a faultless run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from chaos.checker import INVARIANTS, check, line
from chaos.evidence import Evidence
from chaos.faults import Fault
from chaos.hostile.exchange import Answer
from chaos.invariants.endings import attempts_are_bounded, every_error_has_its_reason
from chaos.invariants.jobs import every_job_is_final_in_time
from chaos.notes import Outage, Poll
from chaos.redis_lists import ListLength
from chaos.upstreams import DEPLOYMENTS, MAX_ATTEMPTS
from tests.chaos.runs import (
    CANCELLED,
    JOB,
    KEY,
    NOW,
    WORKER,
    WORKER_PID,
    answered,
    call_at_east,
    call_for_line,
    change,
    drop,
    fail,
    faultless,
    job_row,
    refused_connection,
    reread,
    rescue,
    time_at,
)
from tests.media.pictures import picture

TAMPERINGS: dict[str, Callable[[Evidence], object]] = {
    "every_acknowledged_request_exists": lambda run: run.notes.acknowledged.update({"key 2": f"m_{uuid4()}"}),
    "one_key_is_one_job": lambda run: run.jobs.append(job_row(uuid4(), 0, "FAILED")),
    "every_job_is_final_in_time": lambda run: setattr(run, "drained_at", None),
    "no_job_moved_backwards": lambda run: run.tables["events"].append({"job_id": JOB, "status": "QUEUED"}),
    "every_answer_was_an_answer": lambda run: run.notes.wrong.append("key 0: 500"),
    "every_client_that_waited_got_its_job": lambda run: run.notes.waits.pop("key 0"),
    "a_lost_answer_is_found_by_its_key": lambda run: run.notes.waits.update(
        {"key 0": [answered(ending=None), answered(request_id=f"model_{CANCELLED}")]}
    ),
    "every_hold_ends_once": drop("ledger", 4),
    "only_completed_jobs_are_charged": change("jobs", status="ERROR"),
    "ledger_equals_wallets": change("wallets", spent=Decimal(0)),
    "every_completed_job_has_its_images": lambda run: setattr(run, "objects", {KEY: picture()[:60]}),
    "every_paid_image_has_its_record": change("attempts", state="THROTTLED"),
    "what_was_paid_is_stored_or_its_loss_explained": lambda run: run.calls.append(call_at_east(0)),
    "no_window_has_more_than_its_quota": lambda run: run.calls.extend(
        call_at_east(number, monotonic_ns=59 * 10**9) for number in range(240)
    ),
    "every_call_has_its_attempt": lambda run: run.calls.append(call_at_east(0)),
    "every_extra_call_has_its_reason": drop("images", 0),
    "attempts_are_bounded": lambda run: fail(run, MAX_ATTEMPTS + 2),
    "every_error_has_its_reason": change("jobs", status="ERROR"),
    "no_job_is_error_beside_an_idle_deployment": change("jobs", status="ERROR"),
    "every_final_job_told_its_receiver": lambda run: run.receipts.clear(),
    "one_webhook_id_for_a_job": lambda run: run.receipts.append(replace(run.receipts[0], webhook_id="msg_2")),
    "a_job_cancelled_in_time_was_not_called": lambda run: run.calls.append(call_at_east(1)),
    "an_emptied_redis_is_made_good": change("attempts", called=NOW + 31, finished=NOW + 32),
    "no_list_in_redis_outgrows_its_work": lambda run: run.lists.append(
        ListLength(NOW + 1, "generate.interactive", 2)
    ),
    "no_attempt_of_a_live_process_was_rescued": lambda run: rescue(run, NOW + 50),
    "storage_away_repeats_no_call": change("attempts", state="UNKNOWN"),
    "every_line_is_counted_at_the_end": change("lines", state="failed"),
    "every_line_is_in_one_file": lambda run: setattr(
        run.backfill, "rounds", [replace(run.backfill.rounds[0], errors=[])]
    ),
    "a_retry_calls_for_failed_lines_alone": lambda run: run.calls.append(call_for_line(0, NOW + 9)),
    "a_backfill_is_charged_for_its_images_alone": drop("ledger", 7),
    "the_folder_is_its_manifest": lambda run: run.backfill.folder.update({".imagequeue.part-1": ""}),
    "the_hostile_client_is_refused": lambda run: run.hostile.append(
        refused_connection(answers=(Answer(500, retry_after=False),))
    ),
    "no_hostile_connection_outlives_its_bound": lambda run: run.hostile.append(
        refused_connection(ended=None)
    ),
    "others_are_served_beside_the_hostile_client": lambda run: run.notes.outages.append(
        Outage(NOW + 1, "The service is not available at the moment")
    ),
    "the_status_route_stays_quick": lambda run: run.notes.polls.append(Poll(NOW + 1, 8)),
    "no_process_needs_a_hand": drop("processes", 0),
}


def test_a_faultless_run_has_no_violation() -> None:
    assert [line(finding) for finding in check(faultless()) if finding.violations] == []


@pytest.mark.parametrize("name", [invariant.__name__ for invariant in INVARIANTS])
def test_every_invariant_can_be_violated(name: str) -> None:
    run = faultless()
    TAMPERINGS[name](run)
    (invariant,) = (one for one in INVARIANTS if one.__name__ == name)
    finding = invariant(reread(run))
    assert finding.violations
    assert line(finding).startswith("FAIL")


@pytest.mark.parametrize(("seconds", "allowed"), [(140, True), (160, False)])
def test_jobs_may_take_long_only_while_others_become_final(seconds: float, *, allowed: bool) -> None:
    run = faultless()
    for number in range(1, 4):
        run.jobs[0]["finished"] = run.calm_at + number * seconds
        run.jobs.append(run.jobs[0].copy())
    run.drained_at = run.calm_at + 3 * seconds + 1
    finding = every_job_is_final_in_time(reread(run))
    assert bool(finding.violations) is not allowed


def test_a_process_that_ended_may_be_rescued() -> None:
    run = faultless()
    run.lives[0].last = NOW + 20
    rescue(run, NOW + 50)
    assert not [finding for finding in check(reread(run)) if finding.violations]


def _die(run: Evidence, process_ids: list[UUID]) -> None:
    for process_id in process_ids:
        fail(run, 1, process_id=process_id, process_died=True)


def _fail_where_another_is_served(run: Evidence, rounds: int) -> None:
    fail(run, rounds)
    served = run.tables["attempts"][0] | {"id": uuid4(), "job_id": CANCELLED, "finished": NOW + 50}
    run.tables["attempts"].append(served)


ENDINGS: list[tuple[Callable[[Evidence], object], bool]] = [
    (lambda run: fail(run, MAX_ATTEMPTS, at=DEPLOYMENTS), True),
    (lambda run: fail(run, MAX_ATTEMPTS - 1, at=DEPLOYMENTS), False),
    (lambda run: fail(run, MAX_ATTEMPTS), False),
    (lambda run: _fail_where_another_is_served(run, MAX_ATTEMPTS), True),
    (lambda run: _fail_where_another_is_served(run, MAX_ATTEMPTS - 1), False),
    (lambda run: fail(run, 2, together=4), False),
    (lambda run: _die(run, [uuid4() for _ in range(3)]), True),
    (lambda run: _die(run, [uuid4(), uuid4()]), False),
    (lambda run: _die(run, [WORKER] * 3), False),
    (change("jobs", start_by=time_at(NOW + 1)), True),
    (change("jobs", finish_by=time_at(NOW + 60)), False),
]


@pytest.mark.parametrize(("happened", "is_reason"), ENDINGS)
def test_an_error_needs_a_reason_that_the_rules_know(
    happened: Callable[[Evidence], object], *, is_reason: bool
) -> None:
    run = faultless()
    run.jobs[0]["status"] = "ERROR"
    happened(run)
    assert bool(every_error_has_its_reason(reread(run)).violations) is not is_reason


def test_a_job_of_several_images_may_fail_several_times_in_a_round() -> None:
    run = faultless()
    run.jobs[0]["image_count"] = 4
    fail(run, MAX_ATTEMPTS + 1, together=4)
    assert not attempts_are_bounded(reread(run)).violations
    run.jobs[0]["image_count"] = 3
    assert attempts_are_bounded(reread(run)).violations


@pytest.mark.parametrize(("stopped", "allowed"), [(21.0, True), (9.0, False)])
def test_a_process_that_stood_still_long_enough_may_be_rescued(stopped: float, *, allowed: bool) -> None:
    run = faultless()
    run.faults.append(Fault("SIGSTOP, then SIGCONT", "a worker", WORKER_PID, NOW + 30, NOW + 30 + stopped))
    rescue(run, NOW + 30 + stopped)
    assert bool([finding for finding in check(reread(run)) if finding.violations]) is not allowed


def test_what_another_fault_held_up_is_not_held_against_the_recovery() -> None:
    run = faultless()
    run.tables["attempts"][0].update(called=NOW + 45, finished=NOW + 46)
    run.faults.append(Fault("SIGSTOP, then SIGCONT", "dispatcher", 1, NOW + 5, NOW + 25))
    assert not [finding for finding in check(reread(run)) if finding.violations]
