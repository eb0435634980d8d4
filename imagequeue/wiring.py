"""The wiring: every verb, put together from a Runtime and from what differs between processes.

Processes and tests take their verbs from here. What differs is an argument: `announce` is told which jobs
became final, `release` hands attempts to workers, `wake` tells somebody that there is work. All
of them are called after a commit, and what they are told may be lost. A test that needs another part
exchanges it by `dataclasses.replace`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from uuid import UUID

from imagequeue.client_rate_limit import ClientRateLimit
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.jobs import Lane
from imagequeue.domain.webhooks import parse_schedule
from imagequeue.egress.transport import deadline_client
from imagequeue.lifecycle.deliver.attempt import Delivering
from imagequeue.lifecycle.deliver.deliver import Deliveries, end_overdue
from imagequeue.lifecycle.deliver.record import Recording
from imagequeue.lifecycle.deliver.redeliver import Recoveries
from imagequeue.lifecycle.dispatch.dispatch import Dispatch, Release
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.eta.publish import ForecastPublisher, ForecastReader
from imagequeue.lifecycle.generate.available_slots import StorageHealth
from imagequeue.lifecycle.generate.call_records import CallRecords
from imagequeue.lifecycle.generate.download import Downloading
from imagequeue.lifecycle.generate.fetch_inputs import Fetching
from imagequeue.lifecycle.generate.generate import Generation
from imagequeue.lifecycle.generate.inputs import Inputs
from imagequeue.lifecycle.generate.poll import Polls
from imagequeue.lifecycle.generate.record_outcome import OutcomeRecorder
from imagequeue.lifecycle.generate.store_images import ImageStorer
from imagequeue.lifecycle.generate.upstream_callback import UpstreamCallbacks
from imagequeue.lifecycle.generate.upstream_caller import UpstreamCaller
from imagequeue.lifecycle.generate.worker_process import WorkerProcess
from imagequeue.lifecycle.retention.event_totals import EventTotals
from imagequeue.lifecycle.retention.inputs import InputRetention
from imagequeue.lifecycle.retention.jobs import Retention
from imagequeue.lifecycle.settle.job_end import JobEnd
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.submit.submission import Submission
from imagequeue.lifecycle.submit.submit import SubmitOutcome, submit
from imagequeue.lifecycle.sweep.rescue import Rescue
from imagequeue.lifecycle.sweep.sweep import Sweep
from imagequeue.media.spill import Spill
from imagequeue.media_urls import media_urls
from imagequeue.providers.credentials import Credentials
from imagequeue.redis_server.client import PrefixedRedis, open_redis
from imagequeue.runtime import Runtime
from imagequeue.upstream_callback_urls import upstream_callback_urls
from imagequeue.wakeup import Wakeups

Submit = Callable[[Sequence[Submission], Callable[[int], bool], float], list[SubmitOutcome]]
"""Submissions, who of their callers still waits, and the seconds to wait for a lock."""

_REDIS_SECONDS = 0.25
"""Seconds that an answer to a client waits for Redis; then it does without the limit or the forecast."""


def catalog(runtime: Runtime) -> Callable[[], Catalog]:
    """The catalog as it is when it is asked for: a reload exchanges the runtime's."""
    return lambda: runtime.catalog


# What the API does.


def submitter(runtime: Runtime, wakeups: Wakeups) -> Submit:
    """The verb `submit`. A job wakes the dispatchers, or the workers where its inputs have to be fetched."""

    def submit_and_wake(
        submissions: Sequence[Submission], waits: Callable[[int], bool], lock_seconds: float
    ) -> list[SubmitOutcome]:
        awake = partial(wake, submissions)
        return submit(runtime, submissions, wake=awake, waits=waits, lock_seconds=lock_seconds)

    def wake(submissions: Sequence[Submission]) -> None:
        unfetched = [one.request.unfetched for one in submissions]
        if any(unfetched):
            wakeups.inputs_waiting()
        if not all(unfetched):
            wakeups.jobs_waiting()

    return submit_and_wake


def client_rate_limit(runtime: Runtime) -> ClientRateLimit:
    """The limit on the clients' keys."""
    return ClientRateLimit(_quick_redis(runtime))


def forecast_reader(runtime: Runtime) -> ForecastReader:
    """What waiting jobs may expect, as the dispatchers published it."""
    return ForecastReader(_quick_redis(runtime))


def _quick_redis(runtime: Runtime) -> PrefixedRedis:
    return open_redis(runtime.settings.redis_address, patience=_REDIS_SECONDS)


def upstream_callbacks(runtime: Runtime, wake: Callable[[], None]) -> UpstreamCallbacks:
    """What upstreams call back; `wake`: a poll is due."""
    return UpstreamCallbacks(runtime.engine, catalog(runtime), wake)


# What every process but the simulator may have to do.


def settlement(runtime: Runtime, announce: Callable[[Sequence[UUID]], None]) -> Settlement:
    """The verb `settle`."""
    return Settlement(
        engine=runtime.engine,
        catalog=catalog(runtime),
        job_end=JobEnd(
            media_url=media_urls(runtime.settings, runtime.keyring),
            webhook_bodies=DIALECTS.webhook_bodies(runtime.settings.public_origin),
            webhook_schedule=parse_schedule(runtime.settings.webhook_schedule),
        ),
        announce=announce,
    )


# What workers do.


def generation(
    runtime: Runtime, process: WorkerProcess, image_storer: ImageStorer, settlement: Settlement
) -> Generation:
    """The verb `generate`."""
    return Generation(
        engine=runtime.engine,
        records=CallRecords(runtime.engine),
        process=process,
        upstreams=upstream_caller(runtime),
        image_storer=image_storer,
        recorder=OutcomeRecorder(runtime.engine, settlement, process),
    )


def upstream_caller(runtime: Runtime) -> UpstreamCaller:
    """What calls and polls the deployments of the catalog."""
    return UpstreamCaller(
        catalog=catalog(runtime),
        secret=Credentials(catalog(runtime)),
        client=deadline_client(runtime.upstream_proxy),
        callback_url=upstream_callback_urls(runtime.settings, runtime.keyring),
        inputs=inputs(runtime),
    )


def inputs(runtime: Runtime) -> Inputs:
    """Where input images come from."""
    return Inputs(runtime.storage, runtime.guarded_client())


def fetching(
    runtime: Runtime, settlement: Settlement, wake: Callable[[], None], stopping: threading.Event
) -> Fetching:
    """The verb `fetch`; `wake`: a job waits for a call; `stopping` is set when the process is to end."""
    return Fetching(runtime.engine, inputs(runtime), settlement, wake, stopping)


def image_storer(runtime: Runtime, health: StorageHealth, stopping: threading.Event) -> ImageStorer:
    """Where images go; `stopping` is set when the process is asked to end."""
    downloading = Downloading(runtime.guarded_client())
    return ImageStorer(runtime.storage, spill(runtime), downloading, health, stopping)


def spill(runtime: Runtime) -> Spill:
    """Where images wait on this machine while the storage is away."""
    return Spill(runtime.settings.spill_dir or Path(".imagequeue") / "spill")


def deliveries(runtime: Runtime, pool: Executor, slots: int) -> Deliveries:
    """The verb `deliver`; `pool` has `slots` threads, which make the attempts."""
    delivering = Delivering(runtime.guarded_client(), runtime.keyring, DIALECTS.webhook_headers())
    recording = Recording(runtime.engine, parse_schedule(runtime.settings.webhook_schedule))
    return Deliveries(runtime.engine, delivering, recording, pool, slots)


# What dispatchers do.


def dispatch(runtime: Runtime, release: Release) -> Dispatch:
    """The verb `dispatch`, for the catalog as it is now."""
    return Dispatch(runtime.engine, Eligibility(runtime.catalog), release)


def polls(runtime: Runtime, release: Release, waiting: Callable[[Lane], int | None]) -> Polls:
    """What wakes sleeping attempts for their next poll; `waiting` counts the doorbells of a lane in Redis."""
    return Polls(runtime.engine, release, waiting)


def overdue_deliveries(runtime: Runtime) -> Callable[[], int]:
    """What lets deliveries be DEAD whose age no schedule can explain."""
    return partial(end_overdue, runtime.engine, parse_schedule(runtime.settings.webhook_schedule))


def recoveries(runtime: Runtime) -> Recoveries:
    """What redelivers dead webhooks, where an account has asked for it."""
    return Recoveries(runtime.engine)


def forecast_publisher(
    runtime: Runtime, eligibility: Callable[[], Eligibility], may_wait: Callable[[], bool] = lambda: True
) -> ForecastPublisher:
    """What publishes the forecast; `eligibility` is the dispatcher's, and whether jobs may wait."""
    return ForecastPublisher(runtime.engine, runtime.redis, eligibility, may_wait)


def sweep(
    runtime: Runtime, settlement: Settlement, release: Release, waiting: Callable[[Lane], int | None]
) -> Sweep:
    """The verb `sweep`; `waiting` counts the doorbells of a lane in Redis."""
    return Sweep(runtime.engine, settlement, rescue(runtime, settlement), release, waiting)


def rescue(runtime: Runtime, settlement: Settlement) -> Rescue:
    """The verb `rescue`."""
    return Rescue(runtime.engine, runtime.storage, spill(runtime), settlement)


def job_retention(runtime: Runtime) -> Retention:
    """What removes jobs that are older than the settings say."""
    return Retention(runtime.engine, runtime.storage, runtime.settings.retention_days)


def input_retention(runtime: Runtime) -> InputRetention:
    """What removes input images that no job needs any more."""
    return InputRetention(runtime.engine, runtime.storage)


def event_totals(runtime: Runtime) -> EventTotals:
    """What counts old events into totals."""
    return EventTotals(runtime.engine)
