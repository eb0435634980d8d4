"""The dispatcher process: grants and releases, hands out deliveries, sweeps. Each is a loop of its own."""

from __future__ import annotations

import threading

from imagequeue.lifecycle import outlook, reload, retain, retain_inputs, tally
from imagequeue.lifecycle import sweep as sweeping
from imagequeue.lifecycle.backlog import Backlog
from imagequeue.lifecycle.deliver import Deliveries
from imagequeue.lifecycle.dispatch import Dispatch
from imagequeue.lifecycle.heartbeat import INTERVAL_SECONDS, Heartbeat, this_process
from imagequeue.lifecycle.outlook import Publishing
from imagequeue.lifecycle.poll import Polls
from imagequeue.lifecycle.reload import CatalogWatch
from imagequeue.lifecycle.retain import Retention
from imagequeue.lifecycle.retain_inputs import InputRetention
from imagequeue.lifecycle.serving import Serving
from imagequeue.lifecycle.sweep import Sweep
from imagequeue.lifecycle.tally import Tally
from imagequeue.runtime import Runtime
from imagequeue.store.quota import ensure_groups
from imagequeue.wakeup import JOBS_FINAL, JOBS_WAITING, POLLS_DUE
from worker import parts
from worker.app import make_app
from worker.exits import give_up, on_hangup, on_termination
from worker.liveness import Watchdog
from worker.loops import Loop, Pause, surely
from worker.ring import Doorbells
from worker.wake import Wake

WATCH_SECONDS = 5.0


def run_dispatcher(runtime: Runtime) -> None:
    """Dispatch until SIGTERM."""
    stopping = threading.Event()
    on_termination(stopping)
    surely(lambda: _ensure_groups(runtime), stopping)
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
    doorbells = Doorbells(make_app(runtime.settings.redis_url.get_secret_value()))
    settlement = parts.settlement(runtime, parts.announcement(runtime))
    dispatch = Dispatch(runtime.engine, Serving(runtime.catalog), doorbells.attempts, Backlog())
    catalog = CatalogWatch(runtime)
    on_hangup(catalog.hung_up)

    def dispatch_once() -> int:
        if dispatch.serving.catalog is not runtime.catalog:
            dispatch.serving = Serving(runtime.catalog)
        return dispatch.run_once()

    sweep = Sweep(runtime.engine, settlement, parts.rescue(runtime, settlement), doorbells.attempts)
    heartbeat = Heartbeat(parts.heartbeat_engine(runtime), this_process("dispatcher"), lambda: 0)
    seldom, often = sweeping.INTERVAL_SECONDS, sweeping.DEADLINES_SECONDS
    deliveries = Deliveries(runtime.engine, doorbells.deliveries)
    publishing = Publishing(runtime.engine, runtime.redis, lambda: dispatch.serving)
    polls = Polls(runtime.engine, doorbells.attempts)
    inputs = InputRetention(runtime.engine, runtime.storage)
    retention = Retention(runtime.engine, runtime.storage, runtime.settings.retention_days)
    return [
        Loop("dispatch", dispatch_once, Wake(runtime, JOBS_WAITING, stopping), stopping),
        Loop("deliveries", deliveries.run_once, Wake(runtime, JOBS_FINAL, stopping), stopping),
        Loop("catalog", catalog.run_once, Pause(reload.INTERVAL_SECONDS, stopping), stopping),
        Loop("outlook", publishing.run_once, Pause(outlook.INTERVAL_SECONDS, stopping), stopping),
        Loop("polls", polls.run_once, Wake(runtime, POLLS_DUE, stopping), stopping),
        Loop("ring again", sweep.ring_again, Pause(seldom, stopping), stopping),
        Loop("deadlines", sweep.end_overdue, Pause(often, stopping), stopping),
        Loop("vigil", sweep.watch, Pause(seldom, stopping), stopping),
        Loop("rescue", sweep.recover, Pause(seldom, stopping), stopping),
        Loop("retention", retention.run_once, Pause(retain.INTERVAL_SECONDS, stopping), stopping),
        Loop("tally", Tally(runtime.engine).run_once, Pause(tally.INTERVAL_SECONDS, stopping), stopping),
        Loop("inputs", inputs.run_once, Pause(retain_inputs.INTERVAL_SECONDS, stopping), stopping),
        Loop("heartbeat", heartbeat.run_once, Pause(INTERVAL_SECONDS, stopping), stopping),
    ]
