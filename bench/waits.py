"""Rows `waits` and `wake`: thousands of submits that wait for their final job at one API process.

Nothing generates here: this program makes the jobs final itself, with the statements and the wake-up of the
settlement, so that the API alone is measured. `waits`: all images are there at the same moment, and no client
reads yet. `wake`: jobs become final one after the other while other clients poll.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median, quantiles
from uuid import UUID

from sqlalchemy import text

from bench.api import Answer, Api, Body, start_api, wait_for_job
from bench.stack import KEY, Stack, deployment, running
from bench.table import Line
from imagequeue.domain.ids import new_id, split_request_id
from imagequeue.wakeup import Wakeups

MODEL = "microsoft-mai-image-2-5"
PATH = f"/{MODEL}/v1/{MODEL}-request"
BODY: Body = {"prompt": "a fox that waits", "sync_mode": True}
MEMORY_MB = 300.0
WAKE_SECONDS = 0.1
LARGE = 1_500_000
SMALL = 3_000
WAITS, WAKES = 500, 2_000
HELD_SECONDS = 5.0
"""For how long no client reads, after the jobs are final: as much as fits is in memory then."""
AT_ONCE = 5
PAUSE_SECONDS = 0.05
"""Jobs that become final together, and what lies between two groups: a hundred a second."""
POLLS = 200
LATE_SECONDS, MOMENT_SECONDS = 0.5, 0.25
"""An answer is late after a time in which nothing but a fault holds it up; moments lie further apart."""
PATIENCE_SECONDS = 180.0
SUBMITS_AT_ONCE = 100

_JOBS = "SELECT count(*) FROM jobs"

_FINAL = (
    """
    UPDATE jobs SET status = 'COMPLETED', wanted = 0, updated_at = clock_timestamp(),
        finished_at = clock_timestamp()
    WHERE id = ANY(:ids)
    """,
    """
    INSERT INTO images (job_id, ordinal, attempt_id, storage_key, media_type, width, height, size_bytes)
    SELECT id, 1, id, :key, 'image/png', 1024, 1024, :size FROM unnest(CAST(:ids AS uuid[])) AS id
    """,
    "INSERT INTO events (job_id, status) SELECT id, 'COMPLETED' FROM unnest(CAST(:ids AS uuid[])) AS id",
)


class Finishing:
    """Makes jobs final, each with one image of `size` bytes; notes when (monotonic seconds)."""

    def __init__(self, stack: Stack, size: int) -> None:
        self._stack = stack
        self._size = size
        self._key = f"v1/bench-{new_id()}.png"
        self._wakeups = Wakeups(stack.runtime.redis)
        self.final_at: dict[UUID, float] = {}
        stack.runtime.storage.put(self._key, secrets.token_bytes(size), "image/png")

    def finish(self, ids: Sequence[UUID]) -> None:
        """Make jobs final in one transaction, and ring."""
        values = {"ids": list(ids), "key": self._key, "size": self._size}
        with self._stack.runtime.engine.begin() as connection:
            for statement in _FINAL:
                used = {name: value for name, value in values.items() if f":{name}" in statement}
                connection.execute(text(statement), used)
        now = time.monotonic()
        self.final_at |= dict.fromkeys(ids, now)
        self._wakeups.jobs_final(ids)

    def close(self) -> None:
        """End the publisher."""
        self._wakeups.close()


def run_waits() -> list[Line]:
    """Measure the memory while images go out."""
    with running(_upstreams(), [MODEL], _catalog()) as stack:
        api, finishing = start_api(stack), Finishing(stack, LARGE)
        answers = asyncio.run(_answers_at_once(stack, api, finishing))
        finishing.close()
        peak = api.memory("VmHWM")
    whole = sum(answer.size > LARGE * 4 // 3 for answer in answers)
    what = f"{WAITS} waits end at once with images of {LARGE / 1e6} MB: whole answers"
    seconds = max(answer.ended_at for answer in answers) - max(finishing.final_at.values()) - HELD_SECONDS
    return [
        Line("waits", what, f"{whole}", f"{WAITS}", whole == WAITS),
        Line(
            "waits",
            "the same, peak of the API process",
            f"{peak:.0f} MB",
            f"{MEMORY_MB:.0f} MB",
            peak < MEMORY_MB,
        ),
        Line("waits", "the same, until the last byte once clients read", f"{seconds:.1f} s"),
    ]


async def _answers_at_once(stack: Stack, api: Api, finishing: Finishing) -> list[Answer]:
    reading = asyncio.Event()
    tasks = await _submitted(stack, api, WAITS, reading)
    await asyncio.to_thread(finishing.finish, await _jobs(stack))
    await asyncio.sleep(HELD_SECONDS)
    reading.set()
    return await asyncio.gather(*tasks)


def run_wake() -> list[Line]:
    """Measure how soon answers begin, and polls beside them."""
    with running(_upstreams(), [MODEL], _catalog()) as stack:
        (polled,) = stack.submit(1, MODEL)
        api, finishing = start_api(stack), Finishing(stack, SMALL)
        alone = _poll(api, polled, time.monotonic() + POLLS * PAUSE_SECONDS)
        answers, beside = asyncio.run(_answers_in_turn(stack, api, finishing, polled))
        finishing.close()
        peak = api.memory("VmHWM")
    waits = {one: one.ended_at - finishing.final_at[split_request_id(one.request_id)[1]] for one in answers}
    late = sorted(answer.ended_at for answer, seconds in waits.items() if seconds > LATE_SECONDS)
    return [*_lines([*waits.values()], peak, alone, beside), _late(late)]


async def _answers_in_turn(
    stack: Stack, api: Api, finishing: Finishing, polled: UUID
) -> tuple[list[Answer], list[float]]:
    reading = asyncio.Event()
    reading.set()
    tasks = await _submitted(stack, api, WAKES, reading)
    ids = [one for one in await _jobs(stack) if one != polled]
    until = time.monotonic() + WAKES / AT_ONCE * PAUSE_SECONDS
    polling = asyncio.create_task(asyncio.to_thread(_poll, api, polled, until))
    for begin in range(0, WAKES, AT_ONCE):
        await asyncio.to_thread(finishing.finish, ids[begin : begin + AT_ONCE])
        await asyncio.sleep(PAUSE_SECONDS)
    return await asyncio.gather(*tasks), await polling


async def _submitted(
    stack: Stack, api: Api, count: int, reading: asyncio.Event
) -> list[asyncio.Task[Answer]]:
    """Clients that wait, whose jobs are all accepted: some submit when those before them are."""
    tasks = list[asyncio.Task[Answer]]()
    (before,) = (await asyncio.to_thread(stack.rows, _JOBS))[0]
    while len(tasks) < count:
        numbers = range(len(tasks), min(count, len(tasks) + SUBMITS_AT_ONCE))
        tasks += [asyncio.create_task(wait_for_job(api, number, PATH, BODY, reading)) for number in numbers]
        await asyncio.to_thread(stack.wait_for, _JOBS, before + len(tasks), PATIENCE_SECONDS)
    return tasks


async def _jobs(stack: Stack) -> list[UUID]:
    return [row.id for row in await asyncio.to_thread(stack.rows, "SELECT id FROM jobs ORDER BY id")]


def _poll(api: Api, job_id: UUID, until: float) -> list[float]:
    """Poll a job's status again and again; the seconds that each poll took."""
    seconds = list[float]()
    with api.client() as client:
        while (began := time.monotonic()) < until:
            client.get(f"/v2/requests/status/{MODEL}_{job_id}").raise_for_status()
            seconds.append(time.monotonic() - began)
            time.sleep(PAUSE_SECONDS)
    return seconds


def _lines(waits: list[float], peak: float, alone: list[float], beside: list[float]) -> Iterator[Line]:
    what = f"{WAKES:,} waits at one process, final to the last byte"
    late = _p99(waits)
    target = f"p99 {WAKE_SECONDS * 1000:.0f} ms"
    yield Line("wake", what, f"{_shown(waits)}", target, late < WAKE_SECONDS)
    yield Line("wake", "peak of the API process", f"{peak:.0f} MB", f"{MEMORY_MB:.0f} MB", peak < MEMORY_MB)
    yield Line("wake", "polls before, median / p99", _shown(alone))
    ratio = median(beside) / median(alone)
    yield Line("wake", "polls meanwhile, median / p99", f"{_shown(beside)} ({ratio:.1f} times)")


def _late(ended_at: Sequence[float]) -> Line:
    """How many answers were late, and at how many moments they came.

    Moments a second apart are those at which the API looks at all jobs: the wake-ups of these were lost. Late
    answers of a single moment say that a process or a server stood still.
    """
    moments = sum(later - earlier > MOMENT_SECONDS for earlier, later in pairwise([0.0, *ended_at]))
    what = f"answers later than {LATE_SECONDS * 1000:.0f} ms, and the moments at which they came"
    return Line("wake", what, f"{len(ended_at)} / {moments}")


def _shown(seconds: list[float]) -> str:
    return f"{median(seconds) * 1000:.1f} / {_p99(seconds) * 1000:.1f} ms"


def _p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98]


def _upstreams() -> dict[str, object]:
    return {"east": {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": 60}}}}


def _catalog() -> str:
    return deployment("east", MODEL, 60)
