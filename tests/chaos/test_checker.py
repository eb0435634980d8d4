"""The checker finds what is wrong: every invariant is violated once, by one change to a faultless run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from chaos.checker import INVARIANTS, check, line
from chaos.evidence import Evidence
from chaos.faults import Fault
from chaos.invariants.endings import attempts_are_bounded, every_error_has_its_reason
from chaos.load import Notes, Order
from chaos.receiver import Receipt
from chaos.stack import Life
from chaos.upstreams import DEPLOYMENTS
from tests.media.pictures import picture

NOW = 1_800_000_000.0
ACCOUNT, JOB, CANCELLED, ATTEMPT, HOLD, VOIDED = (uuid4() for _ in range(6))
WORKER, WORKER_PID = uuid4(), 4242
KEY = f"v1/model_{JOB}/{ATTEMPT}/output.png"
PRICE = Decimal("0.039")


def _job(id_: UUID, number: int, status: str, **more: Any) -> dict[str, Any]:
    job = {"id": id_, "status": status, "image_count": 1, "price_usd": PRICE, "prompt": f"job {number}"}
    times = {"created": NOW, "finished": NOW + 2, "finished_at": _time(NOW + 2)}
    return job | times | {"start_by": None, "finish_by": None, "webhook_url": None, "body": "{}"} | more


def _entry(kind: str, amount: Decimal, **more: Any) -> dict[str, Any]:
    entry = {"id": uuid4(), "account_id": ACCOUNT, "kind": kind, "amount": amount, "captured": None}
    return entry | {"job_id": None, "hold_id": None} | more


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _stamp(seconds: float) -> str:
    return _time(seconds).isoformat()


def faultless() -> Evidence:
    """A run of one completed job, one that was cancelled while it waited, and an emptied Redis."""
    events = [(JOB, status) for status in ("QUEUED", "PROCESSING", "COMPLETED")]
    events += [(CANCELLED, "QUEUED"), (CANCELLED, "FAILED")]
    tables: dict[str, list[dict[str, Any]]] = {
        "jobs": [
            _job(JOB, 0, "COMPLETED", webhook_url="http://127.0.0.1:1/hook/0"),
            _job(CANCELLED, 1, "FAILED"),
        ],
        "attempts": [
            {
                "id": ATTEMPT,
                "job_id": JOB,
                "state": "SUCCEEDED",
                "deployment": "east",
                "duplicate_images": 0,
                "process_id": WORKER,
                "process_died": False,
                "created": NOW,
                "called": NOW + 1,
                "finished": NOW + 2,
            }
        ],
        "images": [
            {
                "job_id": JOB,
                "ordinal": 1,
                "attempt_id": ATTEMPT,
                "storage_key": KEY,
                "width": 40,
                "height": 30,
            }
        ],
        "ledger": [
            _entry("DEPOSIT", Decimal(1)),
            _entry("HOLD", -PRICE, id=HOLD, job_id=JOB),
            _entry("CAPTURE", Decimal(0), captured=PRICE, job_id=JOB, hold_id=HOLD),
            _entry("HOLD", -PRICE, id=VOIDED, job_id=CANCELLED),
            _entry("VOID", PRICE, job_id=CANCELLED, hold_id=VOIDED),
        ],
        "wallets": [
            {"account_id": ACCOUNT, "available": 1 - PRICE, "held": Decimal(0), "spent": PRICE},
        ],
        "events": [{"job_id": job_id, "status": status} for job_id, status in events],
        "deliveries": [{"job_id": JOB}],
        "processes": [{"kind": "dispatcher", "age": 1}, *({"kind": "worker", "age": 1} for _ in range(6))],
    }
    return Evidence(
        tables=tables,
        objects={KEY: picture()},
        refused_puts=1,
        calls=[_call(0)],
        receipts=[Receipt("/hook/0", "msg_1", "{}", taken=True)],
        notes=Notes(
            acknowledged={"key 0": f"model_{JOB}", "key 1": f"model_{CANCELLED}"},
            cancels={f"model_{CANCELLED}": 202},
        ),
        orders=[_order(0), _order(1)],
        faults=[Fault("redis FLUSHALL", "redis", 0, NOW + 0.5, NOW + 0.5)],
        lives=[Life("worker-generate-interactive-1", WORKER_PID, NOW + 100)],
        logged=[
            {
                "event": "process_registered",
                "process_id": str(WORKER),
                "pid": WORKER_PID,
                "timestamp": _stamp(NOW - 10),
            },
            {"event": "put_failed", "storage_key": KEY, "timestamp": _stamp(NOW + 2)},
        ],
        calm_at=NOW + 10,
        drained_at=NOW + 20,
        hands=[],
    )


def _call(number: int, **more: Any) -> dict[str, Any]:
    call = {"operation": "generate", "prompt": f"job {number}", "outcome": "admitted"}
    return call | {"quota": "east/mai-image-2-5", "monotonic_ns": 0} | more


def _order(number: int) -> Order:
    return Order(number, 0, f"key {number}", f"job {number}", 1, "interactive", webhook=False, cancel=False)


def _rescue(run: Evidence, moment: float) -> None:
    line = {"event": "attempt_rescued", "attempt_id": str(ATTEMPT), "process_id": str(WORKER)}
    run.logged.append(line | {"timestamp": _stamp(moment)})


def _fail(
    run: Evidence, rounds: int, together: int = 1, at: Collection[str] = ("east",), **more: Any
) -> None:
    """So many rounds of attempts fail at each deployment, one after the other; so many attempts of each."""
    failed = run.tables["attempts"][0] | {"state": "UNKNOWN"} | more
    run.tables["attempts"].extend(
        failed
        | {
            "id": uuid4(),
            "deployment": name,
            "created": NOW + number,
            "finished": NOW + number + 0.5 + other / 10,
        }
        for name in at
        for number in range(rounds)
        for other in range(together)
    )


def _change(table: str, **values: Any) -> Callable[[Evidence], object]:
    return lambda run: run.tables[table][0].update(values)


def _drop(table: str, number: int) -> Callable[[Evidence], object]:
    return lambda run: run.tables[table].pop(number)


TAMPERINGS: dict[str, Callable[[Evidence], object]] = {
    "every_acknowledged_request_exists": lambda run: run.notes.acknowledged.update({"key 2": f"m_{uuid4()}"}),
    "one_key_is_one_job": lambda run: run.jobs.append(_job(uuid4(), 0, "FAILED")),
    "every_job_is_final_in_time": lambda run: setattr(run, "drained_at", None),
    "no_job_moved_backwards": lambda run: run.tables["events"].append({"job_id": JOB, "status": "QUEUED"}),
    "every_answer_was_an_answer": lambda run: run.notes.wrong.append("key 0: 500"),
    "every_hold_ends_once": _drop("ledger", 4),
    "only_completed_jobs_are_charged": _change("jobs", status="ERROR"),
    "ledger_equals_wallets": _change("wallets", spent=Decimal(0)),
    "every_completed_job_has_its_images": lambda run: setattr(run, "objects", {KEY: picture()[:60]}),
    "every_paid_image_has_its_record": _change("attempts", state="THROTTLED"),
    "no_window_has_more_than_its_quota": lambda run: run.calls.extend(
        _call(number, monotonic_ns=59 * 10**9) for number in range(240)
    ),
    "every_call_has_its_attempt": lambda run: run.calls.append(_call(0)),
    "every_extra_call_has_its_reason": _drop("images", 0),
    "attempts_are_bounded": lambda run: _fail(run, 10),
    "every_error_has_its_reason": _change("jobs", status="ERROR"),
    "every_final_job_told_its_receiver": lambda run: run.receipts.clear(),
    "one_webhook_id_for_a_job": lambda run: run.receipts.append(replace(run.receipts[0], webhook_id="msg_2")),
    "a_job_cancelled_in_time_was_not_called": lambda run: run.calls.append(_call(1)),
    "an_emptied_redis_is_made_good": _change("attempts", called=NOW + 31, finished=NOW + 32),
    "no_attempt_of_a_live_process_was_rescued": lambda run: _rescue(run, NOW + 50),
    "storage_away_repeats_no_call": _change("attempts", state="UNKNOWN"),
    "no_process_needs_a_hand": _drop("processes", 0),
}


def _again(run: Evidence) -> Evidence:
    """Read the tables anew: they were changed."""
    return replace(run, by_job={})


def test_a_faultless_run_has_no_violation() -> None:
    assert [line(finding) for finding in check(faultless()) if finding.violations] == []


@pytest.mark.parametrize("name", [invariant.__name__ for invariant in INVARIANTS])
def test_every_invariant_can_be_violated(name: str) -> None:
    run = faultless()
    TAMPERINGS[name](run)
    (invariant,) = (one for one in INVARIANTS if one.__name__ == name)
    finding = invariant(_again(run))
    assert finding.violations
    assert line(finding).startswith("FAIL")


def test_a_process_that_ended_may_be_rescued() -> None:
    run = faultless()
    run.lives[0].last = NOW + 20
    _rescue(run, NOW + 50)
    assert not [finding for finding in check(_again(run)) if finding.violations]


def _die(run: Evidence, process_ids: list[UUID]) -> None:
    for process_id in process_ids:
        _fail(run, 1, process_id=process_id, process_died=True)


def _fail_where_another_is_served(run: Evidence, rounds: int) -> None:
    _fail(run, rounds)
    served = run.tables["attempts"][0] | {"id": uuid4(), "job_id": CANCELLED, "finished": NOW + 50}
    run.tables["attempts"].append(served)


ENDINGS: list[tuple[Callable[[Evidence], object], bool]] = [
    (lambda run: _fail(run, 8, at=DEPLOYMENTS), True),
    (lambda run: _fail(run, 7, at=DEPLOYMENTS), False),
    (lambda run: _fail(run, 8), False),
    (lambda run: _fail_where_another_is_served(run, 8), True),
    (lambda run: _fail_where_another_is_served(run, 7), False),
    (lambda run: _fail(run, 2, together=4), False),
    (lambda run: _die(run, [uuid4() for _ in range(3)]), True),
    (lambda run: _die(run, [uuid4(), uuid4()]), False),
    (lambda run: _die(run, [WORKER] * 3), False),
    (_change("jobs", start_by=_time(NOW + 1)), True),
    (_change("jobs", finish_by=_time(NOW + 60)), False),
]


@pytest.mark.parametrize(("happened", "is_reason"), ENDINGS)
def test_an_error_needs_a_reason_that_the_rules_know(
    happened: Callable[[Evidence], object], *, is_reason: bool
) -> None:
    run = faultless()
    run.jobs[0]["status"] = "ERROR"
    happened(run)
    assert bool(every_error_has_its_reason(_again(run)).violations) is not is_reason


def test_a_job_of_several_images_may_fail_several_times_in_a_round() -> None:
    run = faultless()
    run.jobs[0]["image_count"] = 4
    _fail(run, 9, together=4)
    assert not attempts_are_bounded(_again(run)).violations
    run.jobs[0]["image_count"] = 3
    assert attempts_are_bounded(_again(run)).violations


@pytest.mark.parametrize(("stopped", "allowed"), [(21.0, True), (9.0, False)])
def test_a_process_that_stood_still_long_enough_may_be_rescued(stopped: float, *, allowed: bool) -> None:
    run = faultless()
    run.faults.append(Fault("SIGSTOP, then SIGCONT", "a worker", WORKER_PID, NOW + 30, NOW + 30 + stopped))
    _rescue(run, NOW + 30 + stopped)
    assert bool([finding for finding in check(_again(run)) if finding.violations]) is not allowed


def test_what_another_fault_held_up_is_not_held_against_the_recovery() -> None:
    run = faultless()
    run.tables["attempts"][0].update(called=NOW + 45, finished=NOW + 46)
    run.faults.append(Fault("SIGSTOP, then SIGCONT", "dispatcher", 1, NOW + 5, NOW + 25))
    assert not [finding for finding in check(_again(run)) if finding.violations]
