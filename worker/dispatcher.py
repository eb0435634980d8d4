"""The dispatcher process: grants and releases, hands out deliveries, sweeps. Each is a loop of its own."""

from __future__ import annotations

import threading

from imagequeue import wiring
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.eta import publish
from imagequeue.lifecycle.operate import reload_catalog
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.lifecycle.retention import event_totals as totals
from imagequeue.lifecycle.retention import inputs as input_retention
from imagequeue.lifecycle.retention import jobs as job_retention
from imagequeue.lifecycle.sweep import sweep as sweeping
from imagequeue.lifecycle.sweep.heartbeat import INTERVAL_SECONDS, Heartbeat, this_process
from imagequeue.runtime import Runtime
from imagequeue.store.attempts.quota import ensure_groups
from imagequeue.wakeup import JOBS_FINAL, JOBS_WAITING, POLLS_DUE, Wakeups
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher
from worker.liveness import Watchdog
from worker.loops import Interval, Loop, retry_until_stopped
from worker.signals import give_up, on_hangup, on_termination
from worker.wake import Wake

WATCH_SECONDS = 5.0


def run_dispatcher(runtime: Runtime) -> None:
    """Dispatch until SIGTERM."""
    stopping = threading.Event()
    on_termination(stopping)
    retry_until_stopped(lambda: _ensure_groups(runtime), stopping)
    loops = _loops(runtime, stopping)
    watchdog = Watchdog(lambda: [loop.age() for loop in loops], give_up)
    threads = [loop.start() for loop in loops]
    while not stopping.wait(WATCH_SECONDS):
        watchdog.run_once()
    for thread in threads:
        thread.join()


def _ensure_groups(runtime: Runtime) -> None:
    with runtime.engine.begin() as connection:
        ensure_groups(connection, runtime.catalog.quota_groups.values())


def _loops(runtime: Runtime, stopping: threading.Event) -> list[Loop]:
    publisher = CeleryPublisher(make_app(runtime.settings.redis_url.get_secret_value()))
    settlement = wiring.settlement(runtime, Wakeups(runtime.redis).jobs_final)
    dispatch = wiring.dispatch(runtime, publisher.attempts)
    catalog = CatalogWatch(runtime)
    on_hangup(catalog.hung_up)

    def dispatch_once() -> int:
        if dispatch.eligibility.catalog is not runtime.catalog:
            dispatch.eligibility = Eligibility(runtime.catalog)
        return dispatch.run_once()

    sweep = wiring.sweep(runtime, settlement, publisher.attempts)
    heartbeat = Heartbeat(wiring.heartbeat_engine(runtime), this_process("dispatcher"), lambda: 0)
    seldom, often = sweeping.INTERVAL_SECONDS, sweeping.DEADLINES_SECONDS
    deliveries = wiring.deliveries(runtime, publisher.deliveries)
    publishing = wiring.forecast_publisher(runtime, lambda: dispatch.eligibility)
    polls = wiring.polls(runtime, publisher.attempts)
    inputs = wiring.input_retention(runtime)
    retention = wiring.job_retention(runtime)
    return [
        Loop("dispatch", dispatch_once, Wake(runtime, JOBS_WAITING, stopping), stopping),
        Loop("deliveries", deliveries.run_once, Wake(runtime, JOBS_FINAL, stopping), stopping),
        Loop("catalog", catalog.run_once, Interval(reload_catalog.INTERVAL_SECONDS, stopping), stopping),
        Loop("outlook", publishing.run_once, Interval(publish.INTERVAL_SECONDS, stopping), stopping),
        Loop("polls", polls.run_once, Wake(runtime, POLLS_DUE, stopping), stopping),
        Loop("ring again", sweep.ring_again, Interval(seldom, stopping), stopping),
        Loop("deadlines", sweep.end_overdue, Interval(often, stopping), stopping),
        Loop("vigil", sweep.watch, Interval(seldom, stopping), stopping),
        Loop("rescue", sweep.recover, Interval(seldom, stopping), stopping),
        Loop("retention", retention.run_once, Interval(job_retention.INTERVAL_SECONDS, stopping), stopping),
        Loop(
            "tally",
            wiring.event_totals(runtime).run_once,
            Interval(totals.INTERVAL_SECONDS, stopping),
            stopping,
        ),
        Loop("inputs", inputs.run_once, Interval(input_retention.INTERVAL_SECONDS, stopping), stopping),
        Loop("heartbeat", heartbeat.run_once, Interval(INTERVAL_SECONDS, stopping), stopping),
    ]
