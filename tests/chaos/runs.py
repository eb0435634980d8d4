"""A faultless run, as the checker reads it, and changes to it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from chaos.evidence import Evidence
from chaos.faults import Fault
from chaos.hostile.exchange import Answer, Exchange, Shape
from chaos.invariants.life import WORKERS
from chaos.notes import Notes, Poll, Reply
from chaos.orders import Order
from chaos.receiver import Receipt
from chaos.redis_lists import ListLength
from chaos.stack import Life
from chaos.upstreams import MODEL
from chaos.waiting_kinds import Ending, mark_of
from tests.chaos.backfill_runs import (
    ATTEMPTS,
    PROMPTS,
    REFUSED,
    RETRIED,
    SERVED,
    backfill_record,
    job_of_line,
    storage_key,
)
from tests.chaos.backfill_runs import PRICE as LINE_PRICE
from tests.media.pictures import picture

NOW = 1_800_000_000.0
ACCOUNT, JOB, CANCELLED, ATTEMPT, HOLD, VOIDED = (uuid4() for _ in range(6))
WORKER, WORKER_PID = uuid4(), 4242
KEY = f"v1/model_{JOB}/{ATTEMPT}/output.png"
PRICE = Decimal("0.039")


def job_row(id_: UUID, number: int, status: str, **more: Any) -> dict[str, Any]:
    job = {"id": id_, "status": status, "image_count": 1, "price_usd": PRICE, "prompt": f"job {number}"}
    job["model_id"] = MODEL
    times = {"created": NOW, "finished": NOW + 2, "finished_at": time_at(NOW + 2)}
    return job | times | {"start_by": None, "finish_by": None, "webhook_url": None, "body": "{}"} | more


def ledger_entry(kind: str, amount: Decimal, **more: Any) -> dict[str, Any]:
    entry = {"id": uuid4(), "account_id": ACCOUNT, "kind": kind, "amount": amount, "captured": None}
    return entry | {"job_id": None, "hold_id": None} | more


def time_at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def stamp_at(seconds: float) -> str:
    return time_at(seconds).isoformat()


def faultless() -> Evidence:
    """A run of one completed job, one that was cancelled while it waited, and an emptied Redis.

    The client of the first one waited for it: it hung up once, and joined its job when it asked again.
    """
    events = [(JOB, status) for status in ("QUEUED", "PROCESSING", "COMPLETED")]
    events += [(CANCELLED, "QUEUED"), (CANCELLED, "FAILED")]
    tables: dict[str, list[dict[str, Any]]] = {
        "jobs": [
            job_row(JOB, 0, "COMPLETED", webhook_url="http://127.0.0.1:1/hook/0"),
            job_row(CANCELLED, 1, "FAILED"),
        ],
        "attempts": [
            {
                "id": ATTEMPT,
                "job_id": JOB,
                "state": "SUCCEEDED",
                "reason": None,
                "lane": "interactive",
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
            ledger_entry("DEPOSIT", Decimal(1)),
            ledger_entry("HOLD", -PRICE, id=HOLD, job_id=JOB),
            ledger_entry("CAPTURE", Decimal(0), captured=PRICE, job_id=JOB, hold_id=HOLD),
            ledger_entry("HOLD", -PRICE, id=VOIDED, job_id=CANCELLED),
            ledger_entry("VOID", PRICE, job_id=CANCELLED, hold_id=VOIDED),
        ],
        "wallets": [
            {"account_id": ACCOUNT, "available": 1 - PRICE, "held": Decimal(0), "spent": PRICE},
        ],
        "events": [{"job_id": job_id, "status": status} for job_id, status in events],
        "deliveries": [{"job_id": JOB, "created": NOW + 2, "finished": NOW + 3}],
        "lines": [{"custom_id": one, "state": "completed", "retries": n} for n, one in enumerate(PROMPTS)],
        "batches": [{"id": uuid4(), "state": "completed"}],
        "processes": [
            {"kind": "dispatcher", "age": 1},
            *({"kind": "worker", "age": 1} for _ in range(WORKERS)),
        ],
    }
    for wallet in (add_line(tables, SERVED, 0), add_line(tables, REFUSED, 1), add_line(tables, RETRIED, 1)):
        tables["wallets"].append(wallet)
    return Evidence(
        tables=tables,
        objects={KEY: picture(), storage_key(SERVED): picture(), storage_key(RETRIED): picture()},
        refused_puts=1,
        calls=[
            call_at_east(0),
            call_for_line(0, NOW + 1),
            call_for_line(1, NOW + 1),
            call_for_line(1, NOW + 9),
        ],
        backfill=backfill_record(NOW + 5),
        receipts=[Receipt("/hook/0", "msg_1", "{}", taken=True)],
        notes=Notes(
            polls=[Poll(NOW + 1, 0.01)],
            acknowledged={"key 0": f"model_{JOB}", "key 1": f"model_{CANCELLED}"},
            cancels={f"model_{CANCELLED}": 202},
            waits={"key 0": [Reply(NOW - 0.1, lost="hung up"), answered()]},
        ),
        orders=[order_number(0, waiting="openai"), order_number(1)],
        faults=[Fault("redis FLUSHALL", "redis", 0, NOW + 0.5, NOW + 0.5)],
        spells=[],
        list_looks=10,
        lists=[ListLength(NOW + 0.5, "generate.interactive", 1)],
        lives=[Life("worker-generate-interactive-1", WORKER_PID, NOW + 100)],
        logged=[
            {
                "event": "process_registered",
                "process_id": str(WORKER),
                "pid": WORKER_PID,
                "timestamp": stamp_at(NOW - 10),
            },
            {"event": "put_failed", "storage_key": KEY, "timestamp": stamp_at(NOW + 2)},
        ],
        calm_at=NOW + 10,
        drained_at=NOW + 20,
        hands=[],
        hostile=[refused_connection()],
    )


def add_line(tables: dict[str, list[dict[str, Any]]], job_id: UUID, number: int) -> dict[str, Any]:
    """Add what one run of a line left, with an account of its own, of which this is the wallet."""
    account, hold, is_served = uuid4(), uuid4(), job_id != REFUSED
    statuses = ("QUEUED", "PROCESSING", "COMPLETED" if is_served else "FAILED")
    tables["jobs"].append(job_row(job_id, 0, statuses[-1]) | job_of_line(job_id, number, statuses[-1]))
    tables["events"] += [{"job_id": job_id, "status": status} for status in statuses]
    own = {"id": ATTEMPTS[job_id], "job_id": job_id, "deployment": "bulk-1", "lane": "backfill"}
    state = {"state": "SUCCEEDED" if is_served else "REFUSED", "reason": None if is_served else "refused"}
    tables["attempts"].append(tables["attempts"][0] | own | state)
    end = ledger_entry("VOID", LINE_PRICE)
    if is_served:
        end = ledger_entry("CAPTURE", Decimal(0), captured=LINE_PRICE)
        image = {"job_id": job_id, "attempt_id": ATTEMPTS[job_id], "storage_key": storage_key(job_id)}
        tables["images"].append(tables["images"][0] | image)
    entries = [
        ledger_entry("DEPOSIT", Decimal(1)),
        ledger_entry("HOLD", -LINE_PRICE, id=hold, job_id=job_id),
        end | {"job_id": job_id, "hold_id": hold},
    ]
    tables["ledger"] += [entry | {"account_id": account} for entry in entries]
    spent = LINE_PRICE if is_served else Decimal(0)
    return {"account_id": account, "available": 1 - spent, "held": Decimal(0), "spent": spent}


def call_for_line(number: int, moment: float) -> dict[str, Any]:
    where = {"upstream": "bulk-1", "quota": "bulk-1/gpt-image-2", "prompt": PROMPTS[f"line {number}"]}
    is_refused = number == 1 and moment < NOW + 5
    how = {"fault": "status" if is_refused else None, "billed_images": 0 if is_refused else 1}
    return call_at_east(number, wall_time=stamp_at(moment), **where, **how)


def refused_connection(**more: Any) -> Exchange:
    """A hostile connection that was refused in time."""
    shape = Shape("half a head", (), bound_seconds=12)
    return replace(Exchange(shape, NOW, NOW + 10, (Answer(408, retry_after=True),)), **more)


def call_at_east(number: int, **more: Any) -> dict[str, Any]:
    call = {"operation": "generate", "prompt": f"job {number}", "outcome": "admitted", "fault": None}
    where = {"upstream": "east", "quota": "east/mai-image-2-5", "wall_time": stamp_at(NOW + 1)}
    return call | where | {"monotonic_ns": 0, "billed_images": 1} | more


def answered(**more: Any) -> Reply:
    """The answer to the client that waited for the completed job, at its second request."""
    told = Reply(
        NOW + 0.5, 200, f"model_{JOB}", joined=True, ending=Ending("COMPLETED", (mark_of(picture()),))
    )
    return replace(told, **more)


def order_number(number: int, waiting: str = "") -> Order:
    key, prompt = f"key {number}", f"job {number}"
    return Order(number, 0, key, prompt, 1, "interactive", webhook=False, cancel=False, waiting=waiting)


def rescue(run: Evidence, moment: float) -> None:
    line = {"event": "attempt_rescued", "attempt_id": str(ATTEMPT), "process_id": str(WORKER)}
    run.logged.append(line | {"timestamp": stamp_at(moment)})


def fail(run: Evidence, rounds: int, together: int = 1, at: Collection[str] = ("east",), **more: Any) -> None:
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


def change(table: str, **values: Any) -> Callable[[Evidence], object]:
    return lambda run: run.tables[table][0].update(values)


def drop(table: str, number: int) -> Callable[[Evidence], object]:
    return lambda run: run.tables[table].pop(number)


def reread(run: Evidence) -> Evidence:
    """The same run after a change of its tables."""
    return replace(run, by_job={})
