"""The failures of deployments in a row, and until when they get no calls.

A deployment without a row works. `opened_at` is when its breaker last opened. An attempt that was granted
before and fails later belongs to the same outage; one that was called before and succeeds later does not end
it. An attempt that was granted since is a probe, even if it got no connection and so was never called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.breaker import Breaker, breaker

_READ = text("""
    SELECT name, failures, misconfigured, reason,
        coalesce(extract(epoch FROM blocked_until - clock_timestamp()), 0)::float8 AS blocked_for
    FROM deployment_states
""")

_COUNT_FAILURE = text("""
    INSERT INTO deployment_states AS known (name, failures, misconfigured, reason)
    SELECT deployment, 1, :misconfigured, :reason FROM attempts WHERE id = :attempt_id
    ON CONFLICT (name) DO UPDATE
    SET failures = CASE
            WHEN excluded.misconfigured AND NOT known.misconfigured THEN 1 ELSE known.failures + 1
        END,
        misconfigured = known.misconfigured OR excluded.misconfigured,
        reason = excluded.reason, probe_id = NULL, updated_at = clock_timestamp()
    WHERE known.opened_at IS NULL
        OR known.opened_at <= (SELECT created_at FROM attempts WHERE id = :attempt_id)
    RETURNING failures, misconfigured
""")

_COUNT_REFUSAL = text("""
    INSERT INTO deployment_states AS known (name, refused, reason)
    SELECT deployment, ARRAY[hashtextextended(prompt, 0)], :reason
    FROM attempts JOIN job_requests USING (job_id) WHERE id = :attempt_id
    ON CONFLICT (name) DO UPDATE
    SET refused = CASE
            WHEN excluded.refused <@ known.refused THEN known.refused
            ELSE known.refused || excluded.refused
        END,
        reason = excluded.reason, updated_at = clock_timestamp()
    RETURNING cardinality(refused)
""")

_OPEN = text("""
    UPDATE deployment_states
    SET opened_at = clock_timestamp(), blocked_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE name = :name
""")

_SUCCEEDED = text("""
    DELETE FROM deployment_states
    WHERE name = :name AND (
        opened_at IS NULL OR opened_at <= (SELECT called_at FROM attempts WHERE id = :attempt_id)
    )
""")

_TAKE_PROBE = text("""
    UPDATE deployment_states
    SET probe_id = :attempt_id, blocked_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE name = :name
""")

_PROBES_UNTRIED = text("""
    WITH probed AS (
        SELECT name FROM deployment_states WHERE probe_id = ANY(:attempt_ids) ORDER BY name FOR UPDATE
    )
    UPDATE deployment_states SET probe_id = NULL, blocked_until = clock_timestamp()
    WHERE name IN (SELECT name FROM probed)
""")


@dataclass(frozen=True, slots=True)
class Failures:
    """Failures in a row. The first misconfiguration restarts the count: it is not the outage before it.

    `misconfigured` stays until a success: a later failure of another kind does not show that the key works.
    """

    in_a_row: int
    misconfigured: bool


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """The row of a deployment; `failures` as in `Failures`, `blocked_for`: seconds until it may be called."""

    name: str
    failures: int
    misconfigured: bool
    reason: str | None
    blocked_for: float

    @property
    def breaker(self) -> Breaker:
        """The state of its circuit breaker."""
        return breaker(self.failures, self.blocked_for, misconfigured=self.misconfigured)


def read_states(connection: Connection) -> Mapping[str, DeploymentState]:
    """The rows of deployments that have failed, by name."""
    return {row.name: DeploymentState(*row) for row in connection.execute(_READ)}


def count_failure(
    connection: Connection, attempt_id: UUID, reason: str, *, misconfigured: bool = False
) -> Failures | None:
    """Count a failure; returns those in a row, or None when it belongs to an outage that is known already."""
    values = {"attempt_id": attempt_id, "reason": reason, "misconfigured": misconfigured}
    row = connection.execute(_COUNT_FAILURE, values).one_or_none()
    return Failures(*row) if row else None


def count_refusal(connection: Connection, attempt_id: UUID, reason: str) -> int:
    """Count a refusal that is not by policy; returns how many different prompts were refused in a row."""
    return connection.execute(_COUNT_REFUSAL, {"attempt_id": attempt_id, "reason": reason}).scalar_one()


def open_breaker(connection: Connection, name: str, seconds: float) -> None:
    """Let a deployment get no calls for `seconds`; after that one at a time."""
    connection.execute(_OPEN, {"name": name, "seconds": seconds})


def succeeded(connection: Connection, name: str, attempt_id: UUID) -> None:
    """Delete the row of a deployment, unless its breaker opened after this attempt was called."""
    connection.execute(_SUCCEEDED, {"name": name, "attempt_id": attempt_id})


def take_probe(connection: Connection, name: str, attempt_id: UUID, seconds: float) -> None:
    """Make this attempt the deployment's probe; no other call goes there for `seconds`."""
    connection.execute(_TAKE_PROBE, {"name": name, "attempt_id": attempt_id, "seconds": seconds})


def probes_untried(connection: Connection, attempt_ids: Sequence[UUID]) -> None:
    """Where one of these attempts was the probe, allow another one now: this one gave no result."""
    connection.execute(_PROBES_UNTRIED, {"attempt_ids": list(attempt_ids)})


def forget(connection: Connection, names: Iterable[str], before: datetime) -> None:
    """Delete the rows of deployments whose catalog entries have changed, so that they are called again.

    What has failed since `before` stays: every process says this once, and the last of them must not forget
    what the changed entries have met.
    """
    statement = text("DELETE FROM deployment_states WHERE name = ANY(:names) AND updated_at < :before")
    connection.execute(statement, {"names": sorted(names), "before": before})
