"""Row `ingest`: how fast a file of a million lines is validated and queued, and what that takes.

The worker of the queue `backfills` validates the file, as it does in production. Beside its speed stands a
bare `COPY` of the same rows into an equal table with the same indexes (what the database alone takes), and
the interactive submits by HTTP, without it and meanwhile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event, Thread
from uuid import UUID

from psycopg import Connection as Driver
from sqlalchemy import Connection, text

from bench.api import Api, start_api
from bench.claim import percentile
from bench.stack import KEY, Stack, deployment, running
from bench.table import Line
from imagequeue.lifecycle.backfill.create import BatchOrder, create_batch, new_batch
from imagequeue.lifecycle.backfill.files import begin_upload

MODEL = "microsoft-mai-image-2-5"
LINES = 1_000_000
LEAST_PER_SECOND, MOST_MB, MOST_TIMES = 20_000, 300.0, 2.0
"""Targets: lines a second, memory of the process, and how much the p99 of submits may grow."""

SUBMITS, PAUSE_SECONDS = 400, 0.02
"""Of the measurement without ingest; between two submits, about thirty a second."""

LONGEST_SECONDS = 1800.0
_PATH = f"/{MODEL}/v1/{MODEL}-request"


def run() -> list[Line]:
    """Validate two files: one alone, and one while a client submits."""
    upstreams = {"one": {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": 60}}}}
    with running(upstreams, [MODEL], deployment("one", MODEL, 60)) as stack:
        api, worker = start_api(stack), stack.start("worker", "--queues", "backfills")
        watched = replace(api, process=worker)
        file_id = upload(stack)
        seconds, batch_id = ingested(stack, file_id)
        peak, bare = watched.memory("VmHWM"), _copied(stack, batch_id)
        alone = _submitted(api, lambda done: done >= SUBMITS)
        over = Event()
        during: list[float] = []
        client = Thread(target=lambda: during.extend(_submitted(api, lambda _: over.is_set())))
        client.start()
        ingested(stack, file_id)
        over.set()
        client.join()
        return list(_lines(seconds, peak, bare, alone, during))


def _lines(
    seconds: float, peak: float, bare: float, alone: list[float], during: list[float]
) -> Iterator[Line]:
    speed, times = LINES / seconds, percentile(during, 0.99) / percentile(alone, 0.99)
    target = f">= {LEAST_PER_SECOND:,}"
    yield Line(
        "ingest", f"{LINES:,} lines validated, a second", f"{speed:,.0f}", target, speed >= LEAST_PER_SECOND
    )
    yield Line("ingest", "a bare COPY of the same rows, a second", f"{LINES / bare:,.0f}")
    yield Line(
        "ingest", "memory of the process, peak", f"{peak:.0f} MB", f"< {MOST_MB:.0f} MB", peak < MOST_MB
    )
    yield Line("ingest", "interactive submits alone, median / p99", _shown(alone))
    yield Line(
        "ingest",
        "the same meanwhile",
        f"{_shown(during)} ({times:.1f} times)",
        f"p99 <= {MOST_TIMES:.0f} times",
        times <= MOST_TIMES,
    )


def _shown(seconds: list[float]) -> str:
    return f"{percentile(seconds, 0.5) * 1000:.1f} / {percentile(seconds, 0.99) * 1000:.1f} ms"


def upload(stack: Stack, model: str = MODEL, lines: int = LINES) -> UUID:
    """Store a file of lines for the model; its id."""
    writing = begin_upload(stack.runtime, stack.account_id)
    for begin in range(0, lines, 10_000):
        numbers = range(begin, min(begin + 10_000, lines))
        writing.write(b"".join(_line(number, model) for number in numbers))
    return writing.finish(purpose="batch", filename="lines.jsonl", expires_seconds=None).id


def _line(number: int, model: str) -> bytes:
    prompt = f"A lighthouse at dusk, number {number}, oil on canvas, wide angle, warm window light"
    body = {"model": model, "prompt": prompt, "size": "1024x1024"}
    url = "/v1/images/generations"
    return (
        json.dumps({"custom_id": f"row-{number}", "method": "POST", "url": url, "body": body}).encode()
        + b"\n"
    )


def ingested(stack: Stack, file_id: UUID) -> tuple[float, UUID]:
    """Seconds from the creation of a batch until its lines may run; and the batch."""
    key_id: UUID = stack.rows("SELECT id FROM api_keys WHERE account_id = :id LIMIT 1", id=stack.account_id)[
        0
    ][0]
    began = time.monotonic()
    order = BatchOrder(new_batch(stack.account_id, key_id, file_id), b"")
    batch_id = create_batch(stack.runtime, order).batch_id
    query = "SELECT count(*) FROM batches WHERE id = :id AND state = 'in_progress'"
    stack.wait_for(query, 1, LONGEST_SECONDS, id=batch_id)
    return time.monotonic() - began, batch_id


def _copied(stack: Stack, batch_id: UUID) -> float:
    """Seconds of a bare `COPY` of a batch's lines into an equal table."""
    with stack.runtime.engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("CREATE TABLE bare (LIKE batch_lines INCLUDING ALL)"))
        with _driver(connection).cursor() as cursor:
            query = "COPY (SELECT * FROM batch_lines WHERE batch_id = %s) TO STDOUT (FORMAT binary)"
            with cursor.copy(query, [batch_id]) as rows:
                content = [bytes(row) for row in rows]
            began = time.monotonic()
            with cursor.copy("COPY bare FROM STDIN (FORMAT binary)") as copy:
                for part in content:
                    copy.write(part)
        seconds = time.monotonic() - began
        connection.execute(text("DROP TABLE bare"))
    return seconds


def _driver(connection: Connection) -> Driver[tuple[object, ...]]:
    driver: Driver[tuple[object, ...]] = connection.connection.driver_connection  # pyright: ignore[reportAssignmentType]  # the driver is psycopg
    return driver


def _submitted(api: Api, over: Callable[[int], bool]) -> list[float]:
    """Seconds of each submit, one after the other, until it is over."""
    seconds = list[float]()
    with api.client() as client:
        while not over(len(seconds)):
            began = time.monotonic()
            client.post(_PATH, json={"prompt": f"Benchmark {len(seconds)}"}).raise_for_status()
            seconds.append(time.monotonic() - began)
            time.sleep(PAUSE_SECONDS)
    return seconds
