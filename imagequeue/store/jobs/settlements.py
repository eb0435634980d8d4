"""The rows that settling writes. A job's row is locked first, so its settlements run one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, insert, text

from imagequeue.domain.batches import OnUnknown
from imagequeue.domain.jobs import AttemptState, JobStatus
from imagequeue.domain.verdicts import StoredImage
from imagequeue.store.attempts import deployments, quota
from imagequeue.store.tables import images, job_results

_LOCK_JOBS = text("""
    SELECT jobs.id, jobs.account_id, jobs.status, job_requests.on_unknown, flows.batch_id,
        jobs.image_count, jobs.price_usd, jobs.created_at, flows.model_id, flows.requirement,
        job_requests.parameters ->> 'operation' AS operation, job_requests.webhook_url, job_requests.dialect,
        clock_timestamp() AS now, coalesce(line_webhooks, true) AS tells_endpoints
    FROM jobs
    JOIN flows ON flows.id = flow_id
    LEFT JOIN batches ON batches.id = flows.batch_id
    JOIN job_requests ON job_requests.job_id = jobs.id
    WHERE jobs.id = ANY(ARRAY(SELECT unnest(CAST(:ids AS uuid[]))))
    ORDER BY jobs.id
    FOR UPDATE OF jobs
""")

_RESTORE = text("""
    UPDATE jobs
    SET wanted = greatest(0, image_count - (
            SELECT count(*) FROM images WHERE job_id = jobs.id
        ) - (
            SELECT coalesce(sum(image_count), 0) FROM attempts
            WHERE job_id = jobs.id AND state IN ('RELEASED', 'CALLING', 'SLEEPING')
        )),
        failures = coalesce(CAST(:rounds AS smallint), failures),
        deaths = (
            SELECT count(DISTINCT process_id) FROM attempts WHERE job_id = jobs.id AND process_died
        )
    WHERE id = :id
""")

_FINISH = text("""
    WITH forgotten AS (DELETE FROM job_failures WHERE job_id = ANY(CAST(:ids AS uuid[]))),
    finished AS (
        UPDATE jobs
        SET status = :status, finished_at = now.at, updated_at = now.at, wanted = 0
        FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS now (id, at)
        WHERE jobs.id = now.id AND status IN ('QUEUED', 'PROCESSING')
        RETURNING jobs.id
    )
    INSERT INTO events (job_id, status)
    SELECT finished.id, :status
    FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS given (id, position)
    JOIN finished ON finished.id = given.id
    ORDER BY position
    RETURNING job_id, EXISTS (
        SELECT FROM attempts WHERE attempts.job_id = events.job_id AND state IN ('RELEASED', 'SLEEPING')
    ) AS has_more
""")

_GIVE_BACK = text("""
    UPDATE attempts
    SET state = CASE state WHEN 'RELEASED' THEN 'GIVEN_BACK' ELSE 'LOST' END,
        token_returns_at = CASE state WHEN 'RELEASED' THEN clock_timestamp() ELSE token_returns_at END,
        finished_at = clock_timestamp(), poll_after = NULL, reason = 'the job ended first'
    WHERE job_id = ANY(:job_ids) AND state IN ('RELEASED', 'SLEEPING')
    RETURNING id, state
""")


@dataclass(frozen=True, slots=True)
class LockedJob:
    """A job whose row is locked, with what its final body needs; `now` is the database's clock.

    `tells_endpoints`: the endpoints of the account are told of its end, as of every single job's.
    """

    id: UUID
    account_id: UUID
    status: JobStatus
    on_unknown: OnUnknown
    batch_id: UUID | None
    image_count: int
    price_usd: Decimal
    created_at: datetime
    model_id: str
    requirement: str
    operation: str
    webhook_url: str | None
    dialect: str
    now: datetime
    tells_endpoints: bool


def lock_jobs(connection: Connection, ids: Sequence[UUID]) -> list[LockedJob]:
    """Lock jobs, in the order of their ids."""
    rows = connection.execute(_LOCK_JOBS, {"ids": list(ids)})
    return [LockedJob(row[0], row[1], JobStatus(row[2]), OnUnknown(row[3]), *row[4:]) for row in rows]


ImageRow = tuple[int, str, str]
"""Ordinal, storage key and media type."""


def stored_images(connection: Connection, job: LockedJob) -> list[ImageRow]:
    """The images that a job has, in order. A live job of one image has none, or it would be final."""
    if job.image_count == 1 and not job.status.is_final:
        return []
    rows = connection.execute(
        text("SELECT ordinal, storage_key, media_type FROM images WHERE job_id = :id ORDER BY ordinal"),
        {"id": job.id},
    )
    return [(row.ordinal, row.storage_key, row.media_type) for row in rows]


NewImage = tuple[UUID, UUID, int, StoredImage]
"""Job, attempt, ordinal and the image itself."""


def add_images(connection: Connection, new: Sequence[NewImage]) -> None:
    """Insert images under their ordinals; the primary key refuses a second image for one ordinal."""
    rows = [
        {
            "job_id": job_id,
            "attempt_id": attempt_id,
            "ordinal": ordinal,
            "storage_key": image.storage_key,
            "media_type": image.media_type,
            "width": image.width,
            "height": image.height,
            "size_bytes": image.size_bytes,
            "sha256": image.sha256,
        }
        for job_id, attempt_id, ordinal, image in new
    ]
    if rows:
        connection.execute(insert(images), rows)


def record_duplicates(connection: Connection, attempt_id: UUID, count: int) -> None:
    """Store how many images came that were no longer missing: they cost money and are not delivered."""
    connection.execute(
        text("UPDATE attempts SET duplicate_images = :count WHERE id = :id"),
        {"id": attempt_id, "count": count},
    )


def restore_missing_images(connection: Connection, job_id: UUID, *, rounds: int | None = None) -> None:
    """Count the images that are neither stored nor asked for by an open attempt, so that jobs get attempts.

    Args:
        connection: the transaction.
        job_id: whose row is locked.
        rounds: how many rounds are complete now, if one may have become so.
    """
    connection.execute(_RESTORE, {"id": job_id, "rounds": rounds})


def finish_jobs(connection: Connection, jobs: Sequence[LockedJob], status: JobStatus) -> list[LockedJob]:
    """Compare-and-set the status of locked jobs from a live one, with its event; those that were live."""
    given = {"ids": [job.id for job in jobs], "times": [job.now for job in jobs], "status": status.value}
    finished = {row.job_id: row.has_more for row in connection.execute(_FINISH, given)}
    if more := [job_id for job_id, has_more in finished.items() if has_more]:
        _give_back(connection, more)
    return [job for job in jobs if job.id in finished]


def _give_back(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Close the attempts that no worker is calling. Probes among them gave no result: others may go."""
    closed = connection.execute(_GIVE_BACK, {"job_ids": list(job_ids)}).all()
    if closed:
        unsent = [row.id for row in closed if row.state == AttemptState.GIVEN_BACK]
        quota.probes_untried(connection, unsent)
        deployments.probes_untried(connection, [row.id for row in closed])


def write_results(connection: Connection, bodies: Mapping[UUID, str], *, error: str | None) -> None:
    """Store the final bodies of jobs, which never change."""
    rows = [{"job_id": job_id, "error": error, "body": body} for job_id, body in bodies.items()]
    if rows:
        connection.execute(insert(job_results), rows)
