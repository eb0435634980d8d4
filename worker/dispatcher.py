"""The dispatcher process: dispatch, batches, polls, the forecast, the sweep and the retention.

Each of these is a loop of its own. Between two runs a loop waits for its interval, or (`Wake`) for a wake-up
in Redis, at most 250 ms or, when nothing has happened for a while, a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

from imagequeue import backfill_wiring, wiring
from imagequeue.backfill_wiring import written_files
from imagequeue.lifecycle.backfill import files
from imagequeue.lifecycle.deliver import redeliver
from imagequeue.lifecycle.deliver.deliver import OVERDUE_SECONDS
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.eta import publish
from imagequeue.lifecycle.expand import expand
from imagequeue.lifecycle.operate import reload_catalog
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch
from imagequeue.lifecycle.retention import event_totals as totals
from imagequeue.lifecycle.retention import inputs as input_retention
from imagequeue.lifecycle.retention import jobs as job_retention
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.supervise import supervise
from imagequeue.lifecycle.sweep import sweep as sweeping
from imagequeue.lifecycle.sweep.heartbeat import beating, this_process
from imagequeue.loops import Interval, Loop, Watchdog, retry_until_stopped
from imagequeue.runtime import Runtime
from imagequeue.signals import give_up, on_hangup, on_termination
from imagequeue.store.attempts.quota import ensure_groups
from imagequeue.wakeup import JOBS_WAITING, POLLS_DUE, Wakeups
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
        # The main thread only joins: if it waited for `stopping`, a handler that interrupts it could want the
        # lock that it holds.
        Loop.every(WATCH_SECONDS, "watchdog", watchdog.run_once, stopping).start().join()


def _ensure_groups(runtime: Runtime) -> None:
    with runtime.engine.begin() as connection:
        ensure_groups(connection, runtime.catalog.quota_groups.values())


def _loops(runtime: Runtime, stopping: threading.Event) -> list[Loop]:
    publisher = CeleryPublisher(make_app(runtime.settings.redis_address), runtime.redis)
    settlement = wiring.settlement(runtime, Wakeups(runtime.redis).jobs_final)
    dispatch = wiring.dispatch(runtime, publisher.attempts)
    catalog = CatalogWatch(runtime)
    on_hangup(lambda _: catalog.hung_up.set())

    def dispatch_once() -> int:
        if dispatch.eligibility.catalog is not runtime.catalog:
            dispatch.eligibility = Eligibility(runtime.catalog)
        released = dispatch.run_once()
        return max(released, int(dispatch.may_wait))  # jobs that wait for their starts are work, too

    sweep = wiring.sweep(runtime, settlement, publisher.attempts, publisher.attempts_waiting)
    seldom, often = sweeping.INTERVAL_SECONDS, sweeping.DEADLINES_SECONDS
    overdue, recoveries = wiring.overdue_deliveries(runtime), wiring.recoveries(runtime)
    recovering = Interval(redeliver.INTERVAL_SECONDS, stopping, idle_seconds=redeliver.IDLE_SECONDS)
    publishing = wiring.forecast_publisher(runtime, lambda: dispatch.eligibility, lambda: dispatch.may_wait)
    polls = wiring.polls(runtime, publisher.attempts, publisher.attempts_waiting)
    inputs = wiring.input_retention(runtime)
    retention = wiring.job_retention(runtime)
    return [
        Loop("dispatch", dispatch_once, Wake.on(runtime, stopping, JOBS_WAITING), stopping),
        Loop.every(OVERDUE_SECONDS, "overdue deliveries", overdue, stopping),
        Loop("recoveries", recoveries.run_once, recovering, stopping),
        Loop("polls", polls.run_once, Wake.on(runtime, stopping, POLLS_DUE), stopping),
        Loop.every(reload_catalog.INTERVAL_SECONDS, "catalog", catalog.run_once, stopping),
        Loop.every(publish.INTERVAL_SECONDS, "forecast", publishing.run_once, stopping),
        Loop.every(seldom, "ring again", sweep.ring_again, stopping),
        Loop.every(often, "deadlines", sweep.end_overdue, stopping),
        Loop.every(seldom, "used up", sweep.end_used_up, stopping),
        Loop.every(seldom, "failure detector", sweep.watch, stopping),
        Loop.every(seldom, "rescue", sweep.recover, stopping),
        Loop.every(job_retention.INTERVAL_SECONDS, "retention", retention.run_once, stopping),
        Loop.every(totals.INTERVAL_SECONDS, "event totals", wiring.event_totals(runtime).run_once, stopping),
        Loop.every(input_retention.INTERVAL_SECONDS, "input retention", inputs.run_once, stopping),
        *_batch_loops(runtime, stopping, settlement, lambda: dispatch.eligibility),
    ]


def _batch_loops(
    runtime: Runtime,
    stopping: threading.Event,
    settlement: Settlement,
    eligibility: Callable[[], Eligibility],
) -> list[Loop]:
    wakeups = Wakeups(runtime.redis)

    def wake() -> None:
        wakeups.jobs_waiting()
        wakeups.inputs_waiting()

    expander = backfill_wiring.expander(runtime, eligibility, wake)
    supervision = backfill_wiring.supervision(runtime, settlement, written_files(runtime))
    removed = backfill_wiring.file_retention(runtime)
    return [
        Loop.every(files.INTERVAL_SECONDS, "file retention", removed.run_once, stopping),
        Loop.every(expand.INTERVAL_SECONDS, "expand", expander.run_once, stopping),
        Loop.every(supervise.INTERVAL_SECONDS, "supervise", supervision.run_once, stopping),
    ]
