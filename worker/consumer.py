"""Celery's consumer around the upstream calls: it takes the doorbells of some queues from Redis."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery import signals
from celery.apps.worker import Worker
from celery.exceptions import SecurityWarning
from celery.worker import WorkController

from imagequeue.domain.jobs import Lane
from imagequeue.domain.polling import poll_places
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.generate import Generation
from imagequeue.loops import Loop
from imagequeue.runtime import Runtime
from imagequeue.signals import give_up, on_hangup
from worker.app import make_app
from worker.liveness import Activity, Liveness
from worker.names import GENERATE_QUEUES
from worker.tasks import register_tasks


@dataclass(frozen=True, slots=True)
class Calls:
    """The lanes whose calls a process makes, and how many at a time."""

    lanes: Sequence[Lane]
    slots: int

    @property
    def queues(self) -> list[str]:
        """The names of the queues that its doorbells come from."""
        return [GENERATE_QUEUES[lane] for lane in self.lanes]

    @property
    def threads(self) -> int:
        """Worker slots, and places for the polls of each lane, which so take no slot."""
        return self.slots + sum(poll_places(self.slots / len(self.lanes)) for _ in self.lanes)


def consume(
    runtime: Runtime,
    generation: Generation,
    calls: Calls,
    stopping: threading.Event,
    hung_up: threading.Event,
) -> int:
    """Run Celery's worker in this thread, unless the process is to stop already."""
    app, activity = make_app(runtime.settings.redis_address), Activity(calls.threads)
    register_tasks(app, generation, activity)
    liveness = Liveness(runtime.redis, calls.queues, activity, give_up)
    Loop.every(runtime.settings.liveness_seconds, "liveness", liveness.run_once, stopping).start()

    def on_shutdown(**_: Any) -> None:
        stopping.set()

    def on_received(**_: Any) -> None:
        failpoint("worker.received")  # in the consumer's own thread, before a slot takes the message

    signals.task_received.connect(on_received)  # pyright: ignore[reportUnknownMemberType]
    signals.worker_shutting_down.connect(on_shutdown)  # pyright: ignore[reportUnknownMemberType]
    warnings.filterwarnings("ignore", category=SecurityWarning)  # about pickle under root; messages are JSON
    worker = Consumer(
        app=app,
        queues=calls.queues,
        concurrency=calls.threads,
        pool="threads",
        hostname=None,
        loglevel=logging.getLevelName(logging.getLogger().level),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        task_events=False,
        quiet=True,
    )
    worker.stopping, worker.hung_up = stopping, hung_up
    if not stopping.is_set():
        worker.start()
    return int(worker.exitcode or 0)


class Consumer(Worker):
    """Celery's worker. It insists on signals of its own: its SIGTERM and SIGINT finish the tasks that run."""

    stopping: threading.Event
    hung_up: threading.Event

    def install_platform_tweaks(self, worker: WorkController) -> None:
        """Let Celery take the signals; then take SIGHUP back, and tell it of a stop that came before."""
        super().install_platform_tweaks(worker)
        on_hangup(lambda _: self.hung_up.set())  # Celery's own handler would start the program anew
        if self.stopping.is_set():
            signal.raise_signal(signal.SIGTERM)
