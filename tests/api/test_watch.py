"""How those who wait for jobs are told: by an event at once, or by one query for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event

from api.services import ApiServices
from api.watch import Watch, Watcher
from imagequeue.domain.jobs import JobStatus
from tests.api.service import Service, serving

PATIENCE = 120.0
"""Seconds after which a test has failed: an event that is told takes milliseconds."""
NEVER = 3600.0


@pytest.fixture
def with_redis(engine: Engine, database_url: str, redis_url: str) -> Iterator[Service]:
    with serving(engine, database_url, redis_url=SecretStr(redis_url)) as service:
        yield service


def jobs(service: Service, count: int) -> list[UUID]:
    client = service.client()
    ids = [client.generate().json()["request_id"] for _ in range(count)]
    return [UUID(one.rpartition("_")[2]) for one in ids]


async def until_final(watcher: Watcher) -> JobStatus:
    """The final status, as soon as the watch tells it."""
    async with asyncio.timeout(PATIENCE):
        while (news := await watcher.next()) is not None:
            if news.status.is_final:
                return news.status
    raise AssertionError("the watch ended before the job")


def test_a_final_job_is_told_by_its_event_alone(with_redis: Service) -> None:
    """The watch does not look by itself within the time of the test."""
    ended, going_on = jobs(with_redis, 2)

    async def wait(services: ApiServices) -> list[JobStatus]:
        watch = Watch(services, look_seconds=NEVER)
        async with watch.running():
            with (
                watch.watching(ended, 0) as first,
                watch.watching(ended, 0) as second,
                watch.watching(going_on, 0) as other,
            ):
                for watcher in (first, second, other):
                    queued = await watcher.next()
                    assert queued is not None
                    assert queued.status is JobStatus.QUEUED
                told = asyncio.gather(until_final(first), until_final(second))
                await asyncio.to_thread(services.settlement.end, [ended], JobStatus.FAILED, "no")
                while not told.done():  # a ring is lost that comes before the watch listens
                    services.wakeups.jobs_final([ended])
                    await asyncio.wait({told}, timeout=0.1)
        services.wakeups.close()
        return list(await told)

    assert asyncio.run(wait(ApiServices(with_redis.runtime))) == [JobStatus.FAILED] * 2


def cut(services: ApiServices) -> None:
    """Cut the connections on which wake-ups are heard."""
    services.runtime.redis.client_kill_filter(_type="pubsub")  # pyright: ignore[reportUnknownMemberType]


def test_an_end_that_was_told_while_the_connection_to_redis_was_cut_is_found_at_once(
    with_redis: Service, service: Service
) -> None:
    """`service` has the same database and no Redis, so its wake-ups are lost; nothing looks by itself."""
    (job,) = jobs(with_redis, 1)

    async def wait(services: ApiServices, elsewhere: ApiServices) -> JobStatus:
        watch = Watch(services, look_seconds=NEVER)
        with watch.watching(job, 0) as watcher:
            async with watch.running():
                await watcher.next()
                await asyncio.to_thread(elsewhere.settlement.end, [job], JobStatus.FAILED, "no")
                told = asyncio.create_task(until_final(watcher))
                while not told.done():  # a connection that is cut before it listens is another one
                    await asyncio.to_thread(cut, services)
                    await asyncio.wait({told}, timeout=0.1)
        for one in (services, elsewhere):
            one.wakeups.close()
        return await told

    told = asyncio.run(wait(ApiServices(with_redis.runtime), ApiServices(service.runtime)))
    assert told is JobStatus.FAILED


@contextmanager
def event_reads(engine: Engine) -> Generator[list[set[UUID]]]:
    """The jobs whose events were read, for each statement."""
    seen = list[set[UUID]]()

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "FROM unnest" in statement and "JOIN events" in statement:
            seen.append(set(values["job_ids"]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_without_redis_one_query_tells_all_that_wait(service: Service) -> None:
    watched = jobs(service, 20)

    async def wait(services: ApiServices) -> list[set[UUID]]:
        watch = Watch(services)
        with ExitStack() as stack:
            watchers = [stack.enter_context(watch.watching(job, 0)) for job in watched for _ in range(25)]
            async with watch.running():
                await asyncio.gather(*(watcher.next() for watcher in watchers))
                with event_reads(service.engine) as seen:
                    await asyncio.to_thread(services.settlement.end, watched, JobStatus.FAILED, "no")
                    await asyncio.gather(*map(until_final, watchers))
                return seen

    reads = asyncio.run(wait(ApiServices(service.runtime)))
    assert reads
    assert all(jobs == set(watched) for jobs in reads)


def test_who_comes_late_is_told_and_who_has_left_is_forgotten(service: Service) -> None:
    (job,) = jobs(service, 1)

    async def wait(services: ApiServices) -> None:
        watch = Watch(services)
        async with watch.running():
            with watch.watching(job, 0) as first, watch.watching(job, 0):
                await asyncio.to_thread(services.settlement.end, [job], JobStatus.FAILED, "no")
                assert await until_final(first) is JobStatus.FAILED
            with watch.watching(job, 0) as late:
                assert await until_final(late) is JobStatus.FAILED
            with watch.watching(job, 0) as ended:
                watch.end()
                while await ended.next() is not None:
                    pass
            with watch.watching(job, 0) as too_late:
                assert await too_late.next() is None

    asyncio.run(wait(ApiServices(service.runtime)))
