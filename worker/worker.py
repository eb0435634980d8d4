"""The worker process: Celery's consumer around the calls, the delivery of webhooks, or both; a heartbeat."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import structlog
from sqlalchemy.exc import SQLAlchemyError

from imagequeue import backfill_wiring, wiring
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.generate import fetch_batch_inputs, storage_check
from imagequeue.lifecycle.generate.available_slots import AvailableSlots, StorageHealth
from imagequeue.lifecycle.generate.fetch_inputs import Fetches
from imagequeue.lifecycle.generate.punctuality import Punctuality
from imagequeue.lifecycle.generate.storage_check import StorageCheck
from imagequeue.lifecycle.generate.worker_process import WorkerProcess
from imagequeue.lifecycle.operate import reload_catalog
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.sweep.heartbeat import beating, no_slots, this_process
from imagequeue.loops import Loop, Watchdog
from imagequeue.media.storage import StorageUnavailable
from imagequeue.runtime import Runtime
from imagequeue.signals import give_up, on_hangup, on_termination
from imagequeue.wakeup import INPUTS_WAITING, Wakeups
from worker.delivery import delivering
from worker.names import DELIVERIES, GENERATE_QUEUES
from worker.wake import Wake

log = structlog.get_logger()

WATCH_SECONDS = 5.0

LEAST_DELIVERY_SLOTS = 2
"""Of a worker that makes calls too: one receiver that hangs leaves a place to the others."""


def run_worker(runtime: Runtime, queues: Sequence[str], concurrency: int) -> int:
    """Make the calls of some lanes, deliver webhooks, or both, until SIGTERM; then finish what runs.

    Returns the exit code.
    """
    stopping = threading.Event()
    on_termination(lambda _: stopping.set())
    lanes = [lane for lane, queue in GENERATE_QUEUES.items() if queue in queues]
    delivery_slots = _delivery_slots(lanes, queues, concurrency)
    health = StorageHealth(doubted=True)
    most = concurrency if lanes else 0
    record = this_process("worker", queues=queues, slots=most, delivery_slots=delivery_slots)
    punctuality, wakeups = Punctuality(most), Wakeups(runtime.redis)
    process = WorkerProcess(record.id, stopping, punctuality)
    image_storer = wiring.image_storer(runtime, health, stopping)
    # Without calls no image comes: such a worker asks neither the storage nor the disk.
    slots = AvailableSlots(punctuality, health, image_storer.spill, stopping) if lanes else no_slots
    settlement = wiring.settlement(runtime, wakeups.jobs_final)
    generation = wiring.generation(runtime, process, image_storer, settlement)
    catalog, check = CatalogWatch(runtime), StorageCheck(runtime.storage, health)
    on_hangup(lambda _: catalog.hung_up.set())
    fetching = wiring.fetching(runtime, settlement, wakeups.jobs_waiting, stopping)
    # The heartbeat outlives `stopping`: calls that still run are this process's to the end.
    with (
        beating(runtime, record, slots=slots, in_flight=process.in_flight, first_until=stopping) as heartbeat,
        _delivering(runtime, delivery_slots, stopping) as loops,
    ):
        Loop.every(reload_catalog.INTERVAL_SECONDS, "catalog", catalog.run_once, stopping).start()
        if not lanes:
            return _watch([heartbeat, *loops], stopping)
        _unspill(runtime, settlement)
        # Nobody waits for its end: a storage that hangs must not keep the process.
        Loop.every(storage_check.INTERVAL_SECONDS, "storage check", check.run_once, stopping).start()
        fetches = Fetches(fetching, lanes, slots)
        Loop("fetches", fetches.run_once, Wake.on(runtime, stopping, INPUTS_WAITING), stopping).start()
        if Lane.BACKFILL in lanes:
            _fetch_batch_inputs(runtime, stopping)
        from worker.consumer import Calls, consume  # noqa: PLC0415  # Celery, which only calls need

        return consume(runtime, generation, Calls(lanes, concurrency), stopping, catalog.hung_up)


def _fetch_batch_inputs(runtime: Runtime, stopping: threading.Event) -> None:
    """Fetch the input images that lines of batches name."""
    fetch = backfill_wiring.batch_inputs(runtime).run_once
    for place in range(fetch_batch_inputs.PLACES):
        seconds = fetch_batch_inputs.HELP_SECONDS if place else fetch_batch_inputs.INTERVAL_SECONDS
        Loop.every(seconds, f"batch inputs {place}", fetch, stopping).start()


def _delivery_slots(lanes: Sequence[Lane], queues: Sequence[str], slots: int) -> int:
    """How many delivery attempts at a time: all worker slots, or beside calls half as many more threads."""
    if DELIVERIES not in queues:
        return 0
    return max(LEAST_DELIVERY_SLOTS, slots // 2) if lanes else slots


def _delivering(
    runtime: Runtime, slots: int, stopping: threading.Event
) -> AbstractContextManager[Sequence[Loop]]:
    return delivering(runtime, slots, stopping) if slots else nullcontext(())


def _watch(loops: Sequence[Loop], stopping: threading.Event) -> int:
    """Wait until the process is to stop, or end it when one of its loops stands still; the exit code.

    Only for a process that makes no calls: those are paid for, and must not end with a loop.
    """
    watchdog = Watchdog(lambda: [loop.age() for loop in loops], give_up)
    # This thread only joins: if it waited for `stopping`, a handler that interrupts it could want the lock
    # that it holds.
    Loop.every(WATCH_SECONDS, "watchdog", watchdog.run_once, stopping).start().join()
    return 0


def _unspill(runtime: Runtime, settlement: Settlement) -> None:
    """Store what an earlier process on this machine could not; if the storage is away, the sweep does it."""
    try:
        wiring.rescue(runtime, settlement).unspill()
    except (StorageUnavailable, SQLAlchemyError) as error:
        log.warning("unspill_postponed", reason=type(error).__name__)
