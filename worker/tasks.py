"""The two Celery tasks. Each answers a doorbell and settles its outcome, so Celery has nothing to retry.

`activity` counts the tasks that run and that were begun, by which the process sees whether it still works
(`liveness.py`).
"""

from __future__ import annotations

from uuid import UUID

from celery import Celery

from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.deliver.deliver import Delivering
from imagequeue.lifecycle.generate.generate import Generation
from imagequeue.store.deliveries import ClaimedDelivery
from worker.liveness import Activity
from worker.names import DELIVER, GENERATE


def register_tasks(app: Celery, generation: Generation, delivering: Delivering, activity: Activity) -> None:
    """Register the tasks: `generate` makes the call of an attempt, `deliver` makes a delivery attempt."""

    def generate(attempt_id: str) -> None:
        with activity:
            generation.run(UUID(attempt_id))
        failpoint("generate.before_ack")

    def deliver(delivery_id: str, fence: int) -> None:
        with activity:
            delivering.run(ClaimedDelivery(UUID(delivery_id), fence))

    app.task(name=GENERATE)(generate)
    app.task(name=DELIVER)(deliver)
