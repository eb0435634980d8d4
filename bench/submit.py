"""Rows `submit` and `status`: requests a second of one API process, 64 connections, the client included.

Beside a submit, which is durable before it is answered (fsync is on), stand the same route without a job, and
FastAPI with Celery's `.delay()`: as tutorials show it, with a `def` route and results in Redis, and as it is
fastest, with an `async` route and no results. Beside a poll stands a constant, with a thousand and with a
million jobs stored, of which the clients ask for a thousand, all over the table.
"""

from __future__ import annotations

from functools import partial

from bench import history
from bench.alternate import Compared, alternate
from bench.api import start_api
from bench.baseline import prepare, start_hand_written, start_noop, start_usual
from bench.load import MODEL, load, status_request, submit_request
from bench.stack import KEY, Stack, deployment, running
from bench.table import Line
from imagequeue.domain.ids import request_id
from imagequeue.store.attempts.quota import ensure_groups

RUNS, SECONDS = 5, 3.0
"""Of each row: runs beside each other, and seconds of each measurement."""
FEW, MANY, ASKED = 1_000, 1_000_000, 1_000
"""Jobs that are stored, and how many of them are asked for."""
OF_NOOP, OF_CELERY = 0.5, 12
OF_CONSTANT, OF_CONSTANT_AMONG_MANY = 0.75, 0.6

UPSTREAMS = {
    "unused": {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": 60, "window_seconds": 60}}}
}
CATALOG = deployment("unused", MODEL, 60)


def run_submit() -> list[Line]:
    """Submit, in turn to all four."""
    with running(UPSTREAMS, [MODEL], CATALOG, durable=True) as stack:
        prepare(stack)
        api = start_api(stack)
        ports = {
            "ours": api.port,
            "noop": start_noop(stack),
            "usual": start_usual(stack),
            "fastest": start_hand_written(stack),
        }
        requests = [submit_request(api.keys[0])]
        rates = alternate({name: partial(_rate, port, requests) for name, port in ports.items()}, RUNS)
    beside = {name: Compared(rates["ours"], others, "submits/s") for name, others in rates.items()}
    return [
        beside["noop"].line("submit", "beside the route without a job", least=OF_NOOP),
        beside["usual"].line("submit", "beside FastAPI with .delay(), `def`, results kept", least=OF_CELERY),
        beside["fastest"].line("submit", "beside FastAPI with .delay(), `async`, no results"),
    ]


def run_status() -> list[Line]:
    """Poll, in turn with the constant; few jobs first."""
    with running(UPSTREAMS, [MODEL], CATALOG, durable=True) as stack:
        (_,) = stack.submit(1, MODEL)
        api, port = start_api(stack), start_noop(stack)
        few = _polls(stack, FEW, api.keys[0])
        lines = [_polled(f"{FEW} jobs stored", api.port, port, few, OF_CONSTANT)]
        many = _polls(stack, MANY - FEW, api.keys[0])
        return [*lines, _polled(f"{MANY} jobs stored", api.port, port, many, OF_CONSTANT_AMONG_MANY)]


def _polls(stack: Stack, count: int, key: str) -> list[str]:
    """Store so many more jobs; polls for some of all."""
    with stack.runtime.engine.begin() as connection:
        ensure_groups(connection, stack.runtime.catalog.quota_groups.values())
    history.load(stack, count, stack.account_id, MODEL)
    stack.execute(["ANALYZE jobs", "ANALYZE job_results"])
    found = stack.rows("SELECT id FROM jobs WHERE status = 'COMPLETED' ORDER BY random() LIMIT :n", n=ASKED)
    return [status_request(key, request_id(MODEL, "generate", job_id)) for (job_id,) in found]


def _polled(what: str, api: int, constant: int, polls: list[str], least: float) -> Line:
    measures = {"ours": partial(_rate, api, polls), "constant": partial(_rate, constant, polls)}
    rates = alternate(measures, RUNS)
    compared = Compared(rates["ours"], rates["constant"], "polls/s")
    return compared.line("status", f"beside a constant, {what}", least=least)


def _rate(port: int, requests: list[str]) -> float:
    return load(port, requests, seconds=SECONDS)
