"""What the end of a job writes, all in the one transaction that settles it, so that no part is seen alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.batches import LineError
from imagequeue.domain.job_view import JobView
from imagequeue.domain.jobs import JobStatus
from imagequeue.domain.status_body import Output, encode, status_body
from imagequeue.domain.webhooks import DEFAULT_SCHEDULE, first_attempt_at, target_of
from imagequeue.lifecycle.settle import line_end, webhook
from imagequeue.store.jobs import settlements
from imagequeue.store.jobs.settlements import ImageRow, LockedJob
from imagequeue.store.money.ledger import HoldEnd, end_holds
from imagequeue.store.outbox import NewDelivery, write_deliveries


@dataclass(frozen=True, slots=True)
class JobEnd:
    """Ends jobs: the status, the hold, the final body, and the webhooks. `media_url`: where an image is.

    `webhook_bodies` has the dialects whose webhooks are their own, by name; all others get the status body.

    `webhook_schedule` has the seconds before each delivery attempt; the first entry is the first one's.
    """

    media_url: Callable[[str], str]
    webhook_bodies: Mapping[str, Callable[[JobView], Mapping[str, Any]]]
    webhook_schedule: Sequence[float] = DEFAULT_SCHEDULE
    random: Random = field(default_factory=Random)

    def write(  # noqa: PLR0913, PLR0917  # what the jobs end as, and with what
        self,
        connection: Connection,
        jobs: Sequence[LockedJob],
        status: JobStatus,
        error: str | None,
        code: LineError | None = None,
        images: Mapping[UUID, Sequence[ImageRow]] = MappingProxyType({}),
    ) -> list[UUID]:
        """End those of the jobs that are live; their ids.

        `code` is the error of those that are lines of a batch. `images` are those of the jobs that are
        COMPLETED, in order.

        Quota groups and deployments are locked first, then lines of batches, then wallets, then the counters
        of batches, each sorted: every transaction that settles does it in this order, so that no two wait for
        each other.
        """
        live = settlements.finish_jobs(connection, jobs, status)
        lines = line_end.lock_lines(connection, live)
        bodies = {
            job.id: encode(self._final_body(job, status, error, images.get(job.id, ()))) for job in live
        }
        settlements.write_results(connection, bodies, error=error)  # before webhooks, which read it there
        own = [
            self._delivery(job, job.webhook_url, self._told(connection, job) or bodies[job.id])
            for job in live
            if job.webhook_url
        ]
        # A job's own webhook is the first: where an endpoint has the same URL, it is the one that stays.
        told = [job for job in live if job.tells_endpoints]
        events = webhook.events(connection, told, status, bodies, self._due)
        write_deliveries(connection, [*own, *events])
        # Many jobs of an account end at once: its wallet is locked for little more than the commit.
        captures = status is JobStatus.COMPLETED
        end_holds(connection, [HoldEnd(job.id, job.price_usd if captures else None) for job in live])
        line_end.end_lines(connection, live, lines, code, error)
        return [job.id for job in live]

    def _told(self, connection: Connection, job: LockedJob) -> str | None:
        written = self.webhook_bodies.get(job.dialect)
        return written and webhook.own_body(connection, job, written, self.media_url)

    def _delivery(self, job: LockedJob, url: str, body: str) -> NewDelivery:
        return NewDelivery(job.account_id, job.id, url, target_of(url), body, self._due(job))

    def _due(self, job: LockedJob) -> datetime:
        return first_attempt_at(self.webhook_schedule, job.now, self.random)

    def _final_body(
        self, job: LockedJob, status: JobStatus, error: str | None, images: Sequence[ImageRow]
    ) -> dict[str, object]:
        urls = [self.media_url(storage_key) for _, storage_key, _ in images]
        return status_body(
            job_id=job.id,
            model_id=job.model_id,
            operation=job.operation,
            status=status,
            created_at=job.created_at,
            updated_at=job.now,
            completed_at=job.now,
            error=error,
            output=Output(urls, images[0][2]) if images else None,
        )
