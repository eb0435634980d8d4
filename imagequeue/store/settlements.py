"""The rows that settling writes. A job's row is locked first, always: settlements of one job queue up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, insert, text

from imagequeue.domain.jobs import AttemptState, JobStatus
from imagequeue.domain.verdicts import StoredImage
from imagequeue.store.fences import MAY_END, Fence
from imagequeue.store.tables import deliveries, images, job_results

_LOCK_JOBS = text("""
    SELECT jobs.id, jobs.account_id, jobs.status, jobs.image_count, jobs.failures, jobs.deaths,
        jobs.price_usd, jobs.created_at, flows.model_id, job_requests.parameters ->> 'operation' AS operation,
        job_requests.webhook_url, clock_timestamp() AS now
    FROM jobs
    JOIN flows ON flows.id = flow_id
    JOIN job_requests ON job_requests.job_id = jobs.id
    WHERE jobs.id = ANY(:ids)
    ORDER BY jobs.id
    FOR UPDATE OF jobs
""")

_READ_ATTEMPT = text("""
    SELECT id, job_id, deployment, quota_group, state, process_id, upstream_reference
    FROM attempts WHERE id = :id
""")

_RETURNS_FROM_NOW = """
    greatest(token_returns_at, clock_timestamp() + (
        SELECT make_interval(secs => window_seconds + guard_seconds + extra_guard_seconds)
        FROM quota_groups WHERE name = quota_group
    ))
"""
"""When the token of a call returns that may have been sent just now."""

_CLOSE_ATTEMPT = text(f"""
    UPDATE attempts
    SET state = :state, poll_after = NULL,
        finished_at = CASE WHEN state = :state THEN finished_at ELSE clock_timestamp() END,
        http_status = :http_status, reason = :reason, cost_usd = coalesce(:cost_usd, cost_usd),
        token_returns_at = CASE
            WHEN :frees_token AND sent_at IS NULL THEN clock_timestamp()
            WHEN sent_at IS NULL AND finished_at IS NULL THEN {_RETURNS_FROM_NOW}
            ELSE token_returns_at
        END
    WHERE id = :id AND state = ANY(:sources) AND {MAY_END}
""")  # noqa: S608  # constants of the store

_TOTAL_DEADLINE = "coalesce(called_at + make_interval(secs => :timeout), call_deadline, clock_timestamp())"
"""Of a call. Heartbeats may have put `call_deadline` off, which is about the process (`custody.py`)."""

# What stands in the row when the lock is had decides, so that a callback is never overlooked: with the
# reference known the upstream is asked at once, without it no sooner than the call's total deadline.
_LET_SLEEP = text(f"""
    UPDATE attempts
    SET state = 'SLEEPING', process_id = CASE WHEN :died THEN process_id END,
        call_deadline = {_TOTAL_DEADLINE},
        poll_after = CASE WHEN upstream_reference IS NULL THEN {_TOTAL_DEADLINE} ELSE clock_timestamp() END,
        token_returns_at = CASE WHEN sent_at IS NULL THEN {_RETURNS_FROM_NOW} ELSE token_returns_at END
    WHERE id = :id AND state = 'CALLING' AND {MAY_END}
""")  # noqa: S608  # constants of the store

_RESTORE = text("""
    UPDATE jobs
    SET wanted = greatest(0, image_count - (
            SELECT count(*) FROM images WHERE job_id = jobs.id
        ) - (
            SELECT coalesce(sum(image_count), 0) FROM attempts
            WHERE job_id = jobs.id AND state IN ('RELEASED', 'CALLING', 'SLEEPING')
        )),
        failures = failures + :failures, deaths = deaths + :deaths,
        not_before = CASE
            WHEN :delay > 0 THEN clock_timestamp() + make_interval(secs => :delay) ELSE not_before
        END,
        avoid_deployment = coalesce(:avoid, avoid_deployment)
    WHERE id = :id
""")

_FINISH = text("""
    UPDATE jobs
    SET status = :status, finished_at = :now, updated_at = :now, wanted = 0
    WHERE id = :id AND status IN ('QUEUED', 'PROCESSING')
""")

_GIVE_BACK = text("""
    UPDATE attempts
    SET state = CASE state WHEN 'RELEASED' THEN 'GIVEN_BACK' ELSE 'LOST' END,
        token_returns_at = CASE state WHEN 'RELEASED' THEN clock_timestamp() ELSE token_returns_at END,
        finished_at = clock_timestamp(), poll_after = NULL, reason = 'the job ended first'
    WHERE job_id = :job_id AND state IN ('RELEASED', 'SLEEPING')
""")


@dataclass(frozen=True, slots=True)
class LockedJob:
    """A job whose row is locked, with what its final body needs; `now` is the database's clock."""

    id: UUID
    account_id: UUID
    status: JobStatus
    image_count: int
    failures: int
    deaths: int
    price_usd: Decimal
    created_at: datetime
    model_id: str
    operation: str
    webhook_url: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """Which attempt, of which job, where, and how far it is.

    `process_id` is who calls; of one that sleeps, the process whose death left its call in doubt.
    """

    id: UUID
    job_id: UUID
    deployment: str
    quota_group: str
    state: AttemptState
    process_id: UUID | None
    upstream_reference: str | None


@dataclass(frozen=True, slots=True)
class Closing:
    """How an attempt ends.

    `frees_token`: not one byte was sent. Where that is not certain and the moment of sending is not known,
    the call may have been sent just now, so the token runs from now (rate-limiting.md, "Sent").
    """

    state: AttemptState
    reason: str | None = None
    http_status: int | None = None
    cost_usd: Decimal | None = None
    frees_token: bool = False


def read_attempt(connection: Connection, attempt_id: UUID) -> AttemptRow:
    """Read which job an attempt belongs to."""
    row = connection.execute(_READ_ATTEMPT, {"id": attempt_id}).one()
    return AttemptRow(
        row.id,
        row.job_id,
        row.deployment,
        row.quota_group,
        AttemptState(row.state),
        row.process_id,
        row.upstream_reference,
    )


def lock_jobs(connection: Connection, ids: Sequence[UUID]) -> list[LockedJob]:
    """Lock jobs, in the order of their ids."""
    rows = connection.execute(_LOCK_JOBS, {"ids": list(ids)})
    return [LockedJob(row[0], row[1], JobStatus(row[2]), *row[3:]) for row in rows]


def close_attempt(connection: Connection, attempt_id: UUID, closing: Closing, fence: Fence) -> bool:
    """Compare-and-set the attempt's state, if the fence lets us; False: somebody else has, or closed, it."""
    values = {
        "id": attempt_id,
        "state": closing.state.value,
        "reason": closing.reason,
        "http_status": closing.http_status,
        "cost_usd": closing.cost_usd,
        "frees_token": closing.frees_token,
        "sources": [state.value for state in fence.sources],
        **fence.values(),
    }
    return connection.execute(_CLOSE_ATTEMPT, values).rowcount == 1


def let_sleep(
    connection: Connection, attempt_id: UUID, fence: Fence, *, timeout: float | None, died: bool
) -> bool:
    """CALLING -> SLEEPING, if the fence lets us: the upstream is to say what it calls the request.

    Args:
        connection: the transaction.
        attempt_id: whose call is in doubt.
        fence: who says so.
        timeout: seconds from the call's start to its total deadline; None: as it stands.
        died: the calling process is dead, and remembered as the reason.
    """
    values = {"id": attempt_id, "timeout": timeout, "died": died, **fence.values()}
    return connection.execute(_LET_SLEEP, values).rowcount == 1


def stored_images(connection: Connection, job_id: UUID) -> list[tuple[int, str, str]]:
    """Ordinal, storage key and media type of a job's images, in order."""
    rows = connection.execute(
        text("SELECT ordinal, storage_key, media_type FROM images WHERE job_id = :id ORDER BY ordinal"),
        {"id": job_id},
    )
    return [(row.ordinal, row.storage_key, row.media_type) for row in rows]


def add_images(
    connection: Connection, job_id: UUID, attempt_id: UUID, new: Sequence[tuple[int, StoredImage]]
) -> None:
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
        }
        for ordinal, image in new
    ]
    if rows:
        connection.execute(insert(images), rows)


def record_duplicates(connection: Connection, attempt_id: UUID, count: int) -> None:
    """Remember images that came when they were no longer missing: a cost, not a result."""
    connection.execute(
        text("UPDATE attempts SET duplicate_images = :count WHERE id = :id"),
        {"id": attempt_id, "count": count},
    )


def restore_wanted(  # noqa: PLR0913  # what a failure changes
    connection: Connection,
    job_id: UUID,
    *,
    failed: bool = False,
    died: bool = False,
    delay: float = 0.0,
    avoid: str | None = None,
) -> None:
    """Let the dispatcher ask again for what is neither stored nor asked for by an open attempt."""
    connection.execute(
        _RESTORE,
        {"id": job_id, "failures": int(failed), "deaths": int(died), "delay": delay, "avoid": avoid},
    )


def finish_job(connection: Connection, job: LockedJob, status: JobStatus) -> bool:
    """Compare-and-set the job's status from a live one; False: somebody else settled it."""
    if connection.execute(_FINISH, {"id": job.id, "status": status.value, "now": job.now}).rowcount == 0:
        return False
    connection.execute(_GIVE_BACK, {"job_id": job.id})
    connection.execute(
        text("INSERT INTO events (job_id, status) VALUES (:id, :status)"),
        {"id": job.id, "status": status.value},
    )
    return True


def write_result(connection: Connection, job_id: UUID, *, error: str | None, body: str) -> None:
    """Fix the final body."""
    connection.execute(insert(job_results), {"job_id": job_id, "error": error, "body": body})


def write_delivery(
    connection: Connection, job: LockedJob, *, delivery_id: UUID, target: str, body: str
) -> None:
    """Write the callback into the outbox, due at once."""
    connection.execute(
        insert(deliveries),
        {
            "id": delivery_id,
            "account_id": job.account_id,
            "job_id": job.id,
            "webhook_id": f"msg_{delivery_id}",
            "url": job.webhook_url,
            "target": target,
            "body": body,
        },
    )
