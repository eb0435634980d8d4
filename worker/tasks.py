"""The Celery task. It answers a doorbell and settles the outcome of the call, so Celery retries nothing.

`activity` counts the tasks that run and that were begun, by which the process sees whether it still works
(`liveness.py`).
"""

from __future__ import annotations

from uuid import UUID

from celery import Celery

from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.generate import Generation
from worker.liveness import Activity
from worker.names import GENERATE


def register_tasks(app: Celery, generation: Generation, activity: Activity) -> None:
    """Register the task `generate`, which makes the call of an attempt."""

    def generate(attempt_id: str) -> None:
        with activity:
            generation.run(UUID(attempt_id))
        failpoint("generate.before_ack")

    app.task(name=GENERATE)(generate)
