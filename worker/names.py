"""The names that messages and command lines have: of the Celery task, and of the queues."""

from __future__ import annotations

from imagequeue.domain.jobs import Lane

GENERATE = "generate"

GENERATE_QUEUES = {lane: f"generate.{lane}" for lane in Lane}
DELIVERIES = "deliveries"
"""No queue of Celery, but named like one where a worker is told what to do: deliveries wait in Postgres."""
QUEUES = (*GENERATE_QUEUES.values(), DELIVERIES)
BACKFILLS = "backfills"
"""The same for the files of batches, which a process of its own reads and writes."""
