"""The dispatcher process: dispatch, polls, deliveries, the forecast, the sweep and the retention.

Each of these is a loop of its own. Between two runs a loop waits for its interval, or (`Wake`) for a wake-up
in Redis and at most 250 ms.
"""

from __future__ import annotations

import threading

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
from imagequeue.lifecycle.sweep.heartbeat import INTERVAL_SECONDS, Heartbeat, this_process
from imagequeue.lifecycle.sweep.sweep import Sweep
from imagequeue.runtime import Runtime
from imagequeue.store.attempts.quota import ensure_groups
from imagequeue.wakeup import JOBS_FINAL, JOBS_WAITING, POLLS_DUE
from worker import wiring
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
    settlement = wiring.settlement(runtime, wiring.announcement(runtime))
    dispatch = Dispatch(runtime.engine, Eligibility(runtime.catalog), publisher.attempts, Backlog())
    catalog = CatalogWatch(runtime)
    on_hangup(catalog.hung_up)

    def dispatch_once() -> int:
        if dispatch.eligibility.catalog is not runtime.catalog:
            dispatch.eligibility = Eligibility(runtime.catalog)
        return dispatch.run_once()

    sweep = Sweep(runtime.engine, settlement, wiring.rescue(runtime, settlement), publisher.attempts)
    heartbeat = Heartbeat(wiring.heartbeat_engine(runtime), this_process("dispatcher"), lambda: 0)
    seldom, often = sweeping.INTERVAL_SECONDS, sweeping.DEADLINES_SECONDS
    deliveries = Deliveries(runtime.engine, publisher.deliveries)
    publishing = ForecastPublisher(runtime.engine, runtime.redis, lambda: dispatch.eligibility)
    polls = Polls(runtime.engine, publisher.attempts)
    inputs = InputRetention(runtime.engine, runtime.storage)
    retention = Retention(runtime.engine, runtime.storage, runtime.settings.retention_days)
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
            EventTotals(runtime.engine).run_once,
            Interval(totals.INTERVAL_SECONDS, stopping),
            stopping,
        ),
        Loop("inputs", inputs.run_once, Interval(input_retention.INTERVAL_SECONDS, stopping), stopping),
        Loop("heartbeat", heartbeat.run_once, Interval(INTERVAL_SECONDS, stopping), stopping),
    ]
