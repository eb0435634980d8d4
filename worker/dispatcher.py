"""The dispatcher process: grants and releases, hands out deliveries, sweeps. Each is a loop of its own."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from imagequeue.lifecycle.deliver.deliver import Deliveries
from imagequeue.lifecycle.dispatch.backlog import Backlog
from imagequeue.lifecycle.dispatch.dispatch import Dispatch
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.eta import publish
from imagequeue.lifecycle.eta.publish import ForecastPublisher
from imagequeue.lifecycle.generate.poll import Polls
from imagequeue.lifecycle.operate import reload_catalog
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.lifecycle.retention import event_totals as totals
from imagequeue.lifecycle.retention import inputs as input_retention
from imagequeue.lifecycle.retention import jobs as job_retention
from imagequeue.lifecycle.retention.event_totals import EventTotals
from imagequeue.lifecycle.retention.inputs import InputRetention
from imagequeue.lifecycle.retention.jobs import Retention
from imagequeue.lifecycle.sweep import sweep as sweeping
from imagequeue.lifecycle.sweep.heartbeat import beating, this_process
from imagequeue.lifecycle.sweep.sweep import Sweep
from imagequeue.loops import Loop, Watchdog, retry_until_stopped
from imagequeue.runtime import Runtime
from imagequeue.signals import give_up, on_hangup, on_termination
from imagequeue.store.attempts.quota import ensure_groups
from imagequeue.wakeup import JOBS_FINAL, JOBS_WAITING, POLLS_DUE
from worker import wiring
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher
from worker.wake import Wake

WATCH_SECONDS = 5.0


def run_dispatcher(runtime: Runtime) -> None:
    """Dispatch until SIGTERM."""
    stopping = threading.Event()
    on_termination(lambda _: stopping.set())
    retry_until_stopped(lambda: _ensure_groups(runtime), stopping)
    loops = _loops(runtime, stopping)
    with beating(runtime, this_process("dispatcher")) as heartbeat, ExitStack() as running:
        for loop in loops:
            running.enter_context(loop.running())
        watched = [heartbeat, *loops]
        watchdog = Watchdog(lambda: [loop.age() for loop in watched], give_up)
        # The main thread only joins: where it waited for `stopping` itself, a handler that interrupts it might
        # want the lock that it holds.
        Loop.every(WATCH_SECONDS, "watchdog", watchdog.run_once, stopping).start().join()


def _ensure_groups(runtime: Runtime) -> None:
    with runtime.engine.begin() as connection:
        ensure_groups(connection, runtime.catalog.quota_groups.values())


def _loops(runtime: Runtime, stopping: threading.Event) -> list[Loop]:
    publisher = CeleryPublisher(make_app(runtime.settings.redis_url.get_secret_value()))
    settlement = wiring.settlement(runtime, wiring.announcement(runtime))
    dispatch = Dispatch(runtime.engine, Eligibility(runtime.catalog), publisher.attempts, Backlog())
    catalog = CatalogWatch(runtime)
    on_hangup(lambda _: catalog.hung_up.set())

    def dispatch_once() -> int:
        if dispatch.eligibility.catalog is not runtime.catalog:
            dispatch.eligibility = Eligibility(runtime.catalog)
        return dispatch.run_once()

    sweep = Sweep(runtime.engine, settlement, wiring.rescue(runtime, settlement), publisher.attempts)
    seldom, often = sweeping.INTERVAL_SECONDS, sweeping.DEADLINES_SECONDS
    deliveries = Deliveries(runtime.engine, publisher.deliveries)
    publishing = ForecastPublisher(runtime.engine, runtime.redis, lambda: dispatch.eligibility)
    polls = Polls(runtime.engine, publisher.attempts)
    inputs = InputRetention(runtime.engine, runtime.storage)
    retention = Retention(runtime.engine, runtime.storage, runtime.settings.retention_days)
    return [
        Loop("dispatch", dispatch_once, Wake(runtime, JOBS_WAITING, stopping), stopping),
        Loop("deliveries", deliveries.run_once, Wake(runtime, JOBS_FINAL, stopping), stopping),
        Loop("polls", polls.run_once, Wake(runtime, POLLS_DUE, stopping), stopping),
        Loop.every(reload_catalog.INTERVAL_SECONDS, "catalog", catalog.run_once, stopping),
        Loop.every(publish.INTERVAL_SECONDS, "outlook", publishing.run_once, stopping),
        Loop.every(seldom, "ring again", sweep.ring_again, stopping),
        Loop.every(often, "deadlines", sweep.end_overdue, stopping),
        Loop.every(seldom, "vigil", sweep.watch, stopping),
        Loop.every(seldom, "rescue", sweep.recover, stopping),
        Loop.every(job_retention.INTERVAL_SECONDS, "retention", retention.run_once, stopping),
        Loop.every(totals.INTERVAL_SECONDS, "tally", EventTotals(runtime.engine).run_once, stopping),
        Loop.every(input_retention.INTERVAL_SECONDS, "inputs", inputs.run_once, stopping),
    ]
