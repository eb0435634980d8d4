"""The worker process: Celery's consumer around our two tasks, with a heartbeat and a watch on itself."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery, signals
from celery.exceptions import SecurityWarning
from sqlalchemy.exc import SQLAlchemyError

from imagequeue import wiring
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate import storage_check
from imagequeue.lifecycle.generate.fetch_inputs import Fetches, Fetching
from imagequeue.lifecycle.generate.storage_check import StorageCheck
from imagequeue.lifecycle.generate.store_images import AvailableSlots, StorageHealth
from imagequeue.lifecycle.generate.worker_process import WorkerProcess
from imagequeue.lifecycle.operate import reload_catalog
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.sweep.heartbeat import INTERVAL_SECONDS, Heartbeat, this_process
from imagequeue.media.storage import StorageUnavailable
from imagequeue.runtime import Runtime
from imagequeue.wakeup import INPUTS_WAITING, Wakeups
from worker.app import GENERATE_QUEUES, make_app
from worker.liveness import Activity, Liveness
from worker.loops import Interval, Loop, retry_until_stopped
from worker.signals import give_up, on_hangup
from worker.tasks import register_tasks
from worker.wake import Wake

log = structlog.get_logger()


def run_worker(runtime: Runtime, queues: Sequence[str], concurrency: int) -> int:
    """Consume the queues until SIGTERM, then finish the running calls; the exit code."""
    app = make_app(runtime.settings.redis_url.get_secret_value())
    stopping, ended = threading.Event(), threading.Event()
    activity, health = Activity(concurrency), StorageHealth()
    record = this_process("worker", queues=queues, slots=concurrency)
    process, wakeups = WorkerProcess(record.id, stopping), Wakeups(runtime.redis)
    image_storer = wiring.image_storer(runtime, health, stopping)
    slots = AvailableSlots(concurrency, health, image_storer.spill, stopping)
    heartbeat = Heartbeat(wiring.heartbeat_engine(runtime), record, slots, process.in_flight)
    settlement = wiring.settlement(runtime, wakeups.jobs_final)
    generation = wiring.generation(runtime, process, image_storer, settlement)
    register_tasks(app, generation, wiring.delivering(runtime), activity)
    retry_until_stopped(heartbeat.run_once, stopping)
    _unspill(runtime, settlement)
    liveness = Liveness(runtime.redis, queues, activity, give_up)
    beats = Loop("heartbeat", heartbeat.run_once, Interval(INTERVAL_SECONDS, ended), ended).start()
    look_seconds = runtime.settings.liveness_seconds
    Loop("liveness", liveness.run_once, Interval(look_seconds, stopping), stopping).start()
    look = StorageCheck(runtime.storage, health).run_once
    Loop("probe", look, Interval(storage_check.INTERVAL_SECONDS, stopping), stopping).start()
    catalog = CatalogWatch(runtime)
    Loop("catalog", catalog.run_once, Interval(reload_catalog.INTERVAL_SECONDS, stopping), stopping).start()
    fetching = wiring.fetching(runtime, settlement, wakeups.jobs_waiting)
    _fetch(runtime, fetching, queues, slots, stopping)
    try:
        return _consume(app, queues, concurrency, stopping, catalog.hung_up)
    finally:
        ended.set()
        beats.join()
        _leave(heartbeat)


def _fetch(
    runtime: Runtime,
    fetching: Fetching,
    queues: Sequence[str],
    slots: AvailableSlots,
    stopping: threading.Event,
) -> None:
    """Fetch input images for the lanes whose calls this process makes."""
    lanes = [lane for lane, queue in GENERATE_QUEUES.items() if queue in queues]
    if lanes:
        fetches = Fetches(fetching, lanes, slots)
        Loop("fetches", fetches.run_once, Wake(runtime, INPUTS_WAITING, stopping), stopping).start()


def _leave(heartbeat: Heartbeat) -> None:
    try:
        heartbeat.leave()
    except SQLAlchemyError as error:  # the vigil will find that it is gone
        log.warning("leave_failed", reason=type(error).__name__)


def _consume(
    app: Celery,
    queues: Sequence[str],
    concurrency: int,
    stopping: threading.Event,
    hung_up: threading.Event,
) -> int:
    """Run Celery's worker in this thread; it handles SIGTERM by finishing what runs."""

    def on_shutdown(**_: Any) -> None:
        stopping.set()

    def on_ready(**_: Any) -> None:
        on_hangup(hung_up)  # Celery's own handler would restart the program

    def on_received(**_: Any) -> None:
        failpoint("worker.received")  # in the consumer's own thread, before a slot takes the message

    signals.task_received.connect(on_received)  # pyright: ignore[reportUnknownMemberType]
    signals.worker_ready.connect(on_ready)  # pyright: ignore[reportUnknownMemberType]
    warnings.filterwarnings("ignore", category=SecurityWarning)  # about pickle under root; messages are JSON
    signals.worker_shutting_down.connect(on_shutdown)  # pyright: ignore[reportUnknownMemberType]
    worker = app.Worker(
        queues=list(queues),
        concurrency=concurrency,
        pool="threads",
        hostname=None,
        loglevel=logging.getLevelName(logging.getLogger().level),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        task_events=False,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _unspill(runtime: Runtime, settlement: Settlement) -> None:
    """Store what an earlier process on this machine could not; if the storage is away, the sweep does it."""
    try:
        wiring.rescue(runtime, settlement).unspill()
    except (StorageUnavailable, SQLAlchemyError) as error:
        log.warning("unspill_postponed", reason=type(error).__name__)
