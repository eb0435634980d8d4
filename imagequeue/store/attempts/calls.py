"""Attempts: read one for its call, change its state, find those that are overdue or orphaned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.jobs import Lane
from imagequeue.domain.quota import LEASE_SLACK

RELEASE_SECONDS = 15
"""When an attempt that no worker has started is released again (docs/design/pipeline.md, "Dispatch")."""

OPEN_COUNTS = """
    SELECT deployment, lane, count(*) FROM attempts
    WHERE state IN ('RELEASED', 'CALLING') GROUP BY deployment, lane
"""
"""How many attempts are released or calling, by deployment and lane."""

_READ = text("""
    SELECT attempts.id, attempts.job_id, deployment, attempts.image_count, state, upstream_reference,
        flows.model_id, job_requests.prompt, job_requests.parameters,
        extract(epoch FROM slot_at - clock_timestamp())::float8 AS starts_in,
        extract(epoch FROM call_deadline - clock_timestamp())::float8 AS gives_up_in,
        poll_failures
    FROM attempts
    JOIN jobs ON jobs.id = attempts.job_id
    JOIN flows ON flows.id = jobs.flow_id
    JOIN job_requests ON job_requests.job_id = jobs.id
    WHERE attempts.id = ANY(ARRAY(SELECT unnest(CAST(:ids AS uuid[])))) AND jobs.status = 'PROCESSING'
""")

STARTED = """
    EXISTS (
        SELECT FROM attempts AS made
        WHERE made.job_id = jobs.id AND made.called_at IS NOT NULL AND made.state <> 'GIVEN_BACK'
    )
"""
"""Whether a call was made for a job. An attempt that is released, or was given back, is no call."""

# No start is granted within a group's block, so a block that holds now came after the grant, by a 429. Only
# the grant of a probe, in a group that is out of quota, moves the block itself.
#
# A batch closes its flows while calls of their jobs begin: the share lock makes it wait for these, and those
# that wait for it find the flow closed. Flows of single jobs are always open, so they are not locked.
_START = text(f"""
    WITH flow AS (
        SELECT flows.id FROM attempts
        JOIN jobs ON jobs.id = job_id
        JOIN flows ON flows.id = flow_id
        WHERE attempts.id = :id AND batch_id IS NOT NULL AND open
        FOR SHARE OF flows
    )
    UPDATE attempts
    SET state = 'CALLING', process_id = :process_id, called_at = clock_timestamp(),
        call_deadline = clock_timestamp() + make_interval(secs => :timeout)
    FROM jobs JOIN flows ON flows.id = flow_id
    WHERE attempts.id = :id AND state = 'RELEASED' AND jobs.id = job_id AND jobs.status = 'PROCESSING'
        AND (batch_id IS NULL OR EXISTS (SELECT FROM flow))
        AND (jobs.finish_by IS NULL OR jobs.finish_by > clock_timestamp())
        AND (jobs.start_by IS NULL OR jobs.start_by > clock_timestamp() OR {STARTED})
        AND EXISTS (SELECT FROM processes WHERE id = :process_id)
        AND clock_timestamp() < slot_at + make_interval(secs => {LEASE_SLACK})
        AND NOT EXISTS (
            SELECT FROM quota_groups
            WHERE name = quota_group AND blocked_until > clock_timestamp()
                AND NOT (out_of_quota AND attempts.created_at > throttled_at)
        )
""")  # noqa: S608  # constants of the domain and of this module

_SENT = text("""
    UPDATE attempts
    SET sent_at = clock_timestamp() - make_interval(secs => ago),
        token_returns_at = clock_timestamp() + make_interval(
            secs => window_seconds + guard_seconds + extra_guard_seconds - ago
        )
    FROM quota_groups,
        unnest((SELECT CAST(:ids AS uuid[])), (SELECT CAST(:agos AS float8[]))) AS sent (attempt_id, ago)
    WHERE id = attempt_id AND sent_at IS NULL AND name = quota_group
""")

_SLEEP = text("""
    UPDATE attempts
    SET state = 'SLEEPING', process_id = NULL, upstream_reference = :reference,
        poll_after = CASE
            WHEN state = 'CALLING' AND upstream_reference IS NOT NULL THEN clock_timestamp()
            ELSE clock_timestamp() + make_interval(secs => :seconds)
        END
    WHERE id = :id AND (state = 'SLEEPING' OR state = 'CALLING' AND process_id = :process_id)
""")

# Of the released attempts, those beyond `waiting` have no message in the list: so many may be rung again.
# ARRAY reads them once; some plans of `IN (...)` would repeat the LIMIT for each row and so exceed it.
_RELEASE_AGAIN = text("""
    UPDATE attempts SET release_deadline = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = ANY(ARRAY(
        SELECT id FROM attempts
        WHERE state = 'RELEASED' AND lane = :lane AND release_deadline < clock_timestamp()
        ORDER BY release_deadline
        LIMIT least(:limit, greatest(0, (
            SELECT count(*) FROM attempts WHERE state = 'RELEASED' AND lane = :lane
        ) - :waiting))
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, lane
""")

_RENEW = text("""
    UPDATE attempts SET call_deadline = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = ANY(:ids) AND state = 'CALLING'
        AND call_deadline < clock_timestamp() + make_interval(secs => :seconds / 2)
""")

_RENEW_POLLS = text("""
    UPDATE attempts
    SET poll_leased_until = clock_timestamp() + make_interval(secs => :seconds),
        poll_after = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = ANY(:ids) AND state = 'SLEEPING' AND polled_by = :process_id
        AND poll_leased_until < clock_timestamp() + make_interval(secs => :seconds / 2)
""")

IS_ORPHANED = """
    attempts.state = 'CALLING' AND NOT EXISTS (
        SELECT FROM processes WHERE processes.id = process_id AND beat_at <= call_deadline
    )
"""
"""Whether a call is orphaned: its process has no row, or sent a heartbeat after the call's deadline.

A process renews the deadlines of its calls in the transaction of a heartbeat. The condition is part of one
statement, so that a process that has just registered and its first call are seen together.
"""

_ORPHANED = text(f"""
    SELECT id, process_id FROM attempts WHERE {IS_ORPHANED} ORDER BY id LIMIT :limit
""")  # noqa: S608  # a constant of this module

RENEWED_SECONDS = 60.0
"""How long after a heartbeat the deadline is that it sets for an attempt in flight; one comes every 2 s."""


@dataclass(frozen=True, slots=True)
class Doorbell:
    """What Celery carries: which attempt, on which lane's queue."""

    attempt_id: UUID
    lane: Lane


@dataclass(frozen=True, slots=True)
class Orphan:
    """An attempt that is CALLING, and the process that made the call."""

    attempt_id: UUID
    process_id: UUID


@dataclass(frozen=True, slots=True)
class CallTicket:
    """Everything that a worker needs to make the call.

    `starts_in` and `gives_up_in` (None: not started) are seconds from the moment of reading. `poll_failures`
    are those in a row.
    """

    attempt_id: UUID
    job_id: UUID
    deployment: str
    image_count: int
    state: str
    upstream_reference: str | None
    model_id: str
    prompt: str
    parameters: dict[str, Any]
    starts_in: float
    gives_up_in: float | None
    poll_failures: int

    @property
    def is_overdue(self) -> bool:
        """Whether the total deadline of its call has passed."""
        return self.gives_up_in is not None and self.gives_up_in < 0

    @property
    def is_polled_again(self) -> bool:
        """Whether the upstream has the request, and there is time to poll once more: that costs nothing."""
        return self.upstream_reference is not None and not self.is_overdue

    @property
    def has_work(self) -> bool:
        """Whether a worker has anything to do for it.

        Not if it has been closed, is being called, or waits for an upstream callback.
        """
        waits = self.upstream_reference is None and not self.is_overdue
        return self.state == "RELEASED" or (self.state == "SLEEPING" and not waits)


def read_ticket(connection: Connection, attempt_id: UUID) -> CallTicket | None:
    """Read an attempt for its call; None when its job is final or unknown."""
    return read_tickets(connection, [attempt_id]).get(attempt_id)


def read_tickets(connection: Connection, attempt_ids: Sequence[UUID]) -> dict[UUID, CallTicket]:
    """Read attempts for their calls, without those whose job is final or unknown."""
    return {row[0]: CallTicket(*row) for row in connection.execute(_READ, {"ids": list(attempt_ids)})}


def start(connection: Connection, attempt_id: UUID, process_id: UUID, timeout: float) -> bool:
    """RELEASED -> CALLING; False: do not call.

    It is False when

    - the attempt is not RELEASED any more, or its job is final;
    - `finish_by` has passed, or `start_by` has and this would be the job's first call;
    - the planned start is more than `LEASE_SLACK` ago, because the token covers no later call;
    - the batch of its job has closed the job's flow;
    - a 429 has blocked the group since the grant: after the pause the upstream is to see one call, not all
      that were released before (docs/design/rate-limiting.md, "What upstreams say back");
    - the process has no row, because it was declared dead: it must register again first.

    Args:
        connection: the transaction.
        attempt_id: whose call starts.
        process_id: which process calls; its heartbeats renew the deadline from now on.
        timeout: seconds from now to the deadline of the call.
    """
    values = {"id": attempt_id, "process_id": process_id, "timeout": timeout}
    return connection.execute(_START, values).rowcount == 1


def record_sent(connection: Connection, agos: Mapping[UUID, float]) -> None:
    """Store how many seconds before now each request body was written: from then on the token's time runs.

    If this write is lost, the token returns later, when the grant has said.
    """
    connection.execute(_SENT, {"ids": list(agos), "agos": list(agos.values())})


def sleep(connection: Connection, attempt_id: UUID, process_id: UUID, reference: str, seconds: float) -> None:
    """CALLING -> SLEEPING: the upstream took the request; poll for `reference` in `seconds`.

    Poll at once if the upstream callback came before this answer was stored: then the result is there.
    """
    values = {"id": attempt_id, "process_id": process_id, "reference": reference, "seconds": seconds}
    connection.execute(_SLEEP, values)


def deployment_of(connection: Connection, attempt_id: UUID) -> str | None:
    """The name of the deployment that an attempt is for; None: there is no such attempt any more."""
    statement = text("SELECT deployment FROM attempts WHERE id = :id")
    return connection.execute(statement, {"id": attempt_id}).scalar_one_or_none()


def release_again(connection: Connection, lane: Lane, waiting: int, limit: int) -> list[Doorbell]:
    """Attempts of a lane that no worker has started in time, as many as the lane's list in Redis is short.

    Ringing again does no harm, because an attempt starts once. But while no worker takes the messages the
    list would grow with every look, so it gets no more than there are attempts to start.

    Args:
        connection: the transaction.
        lane: whose attempts.
        waiting: the messages that wait in the list of this lane.
        limit: the most attempts.
    """
    values = {"seconds": RELEASE_SECONDS, "lane": lane.value, "waiting": waiting, "limit": limit}
    return [Doorbell(row.id, Lane(row.lane)) for row in connection.execute(_RELEASE_AGAIN, values)]


def renew(connection: Connection, ids: Sequence[UUID], process_id: UUID) -> None:
    """Renew the deadlines of calls and the leases of polls that a process has in flight.

    Only those of which less than half of `RENEWED_SECONDS` is left are written.
    """
    if ids:
        values = {"ids": list(ids), "seconds": RENEWED_SECONDS, "process_id": process_id}
        connection.execute(_RENEW, values)
        connection.execute(_RENEW_POLLS, values)


def orphaned(connection: Connection, limit: int = 1000) -> list[Orphan]:
    """Attempts that are CALLING and orphaned."""
    return [Orphan(*row) for row in connection.execute(_ORPHANED, {"limit": limit})]
