"""The failures of deployments in a row, and until when they get no calls.

A deployment without a row works. `opened_at` is when its breaker last opened. From then on only the failure
of the probe counts: every other attempt belongs to the same outage, also one that was granted since, by a
dispatcher whose plan was older. An attempt that was called before and succeeds later does not end the outage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.breaker import SERVED_SECONDS, Breaker, FailedCall, breaker

STATES = """
    SELECT name, failures, misconfigured, reason,
        coalesce(extract(epoch FROM blocked_until - clock_timestamp()), 0)::float8 AS blocked_for,
        CASE WHEN probe_id IS NULL THEN opened_by END AS opened_by
    FROM deployment_states
"""
"""The columns of `DeploymentState`."""

# The lock of the row is held until the settlement is committed, so no failure is counted twice or lost.
_HOLD = text("""
    WITH call AS (
        SELECT deployment, account_id,
            hashtextextended(prompt || parameters::text, 0) AS request
        FROM attempts JOIN jobs ON jobs.id = attempts.job_id JOIN job_requests USING (job_id)
        WHERE attempts.id = :attempt_id
    )
    INSERT INTO deployment_states AS known (name) SELECT deployment FROM call
    ON CONFLICT (name) DO UPDATE SET updated_at = clock_timestamp()
    WHERE known.opened_at IS NULL OR known.probe_id = :attempt_id
    RETURNING name, failures, misconfigured, opened_at IS NOT NULL AS opened, failed, refused, opened_by,
        (SELECT account_id FROM call) AS account_id, (SELECT request FROM call) AS request
""")

_RECORD = text("""
    UPDATE deployment_states
    SET failures = :failures, misconfigured = :misconfigured, failed = :failed, refused = :refused,
        opened_by = :opened_by, reason = :reason, probe_id = NULL,
        opened_at = CASE WHEN :seconds > 0 THEN clock_timestamp() ELSE opened_at END,
        blocked_until = CASE
            WHEN :seconds > 0 THEN clock_timestamp() + make_interval(secs => :seconds) ELSE blocked_until
        END
    WHERE name = :name
""")

# `token_returns_at` finds the group's calls of the last minutes in its index.
_SERVED = text("""
    SELECT EXISTS (
        SELECT FROM attempts JOIN jobs ON jobs.id = attempts.job_id
        WHERE attempts.quota_group = :quota_group
            AND attempts.token_returns_at > clock_timestamp() - make_interval(secs => :seconds)
            AND attempts.deployment = :deployment AND attempts.state = 'SUCCEEDED'
            AND attempts.finished_at > clock_timestamp() - make_interval(secs => :seconds)
            AND jobs.id IS DISTINCT FROM CAST(:job_id AS uuid)
            AND jobs.account_id IS DISTINCT FROM CAST(:account_id AS uuid)
    )
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
class Evidence:
    """What is known against a deployment, and the call that fails now.

    `failures` in a row that count. The first that is a misconfiguration begins a row of its own, because it
    is another trouble than the outage before it. `misconfigured` stays until a success: that a call could not
    be answered at all says nothing of the key. `opened`: the breaker has opened since the last success.
    `failed` and `refused` are the calls in a row, each request once; `opened_by` is the account whose calls
    alone opened the breaker.
    """

    name: str
    call: FailedCall
    failures: int = 0
    misconfigured: bool = False
    opened: bool = False
    failed: tuple[FailedCall, ...] = ()
    refused: tuple[FailedCall, ...] = ()
    opened_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """How a deployment does; `failures` as in `Evidence`, `blocked_for` seconds until it may be called.

    `opened_by` is the account whose calls alone have opened the breaker, while no probe is on its way.
    """

    name: str
    failures: int
    misconfigured: bool
    reason: str | None
    blocked_for: float
    opened_by: UUID | None = None

    @property
    def breaker(self) -> Breaker:
        """The state of its circuit breaker."""
        return breaker(self.failures, self.blocked_for, misconfigured=self.misconfigured)


def read_states(connection: Connection) -> Mapping[str, DeploymentState]:
    """The rows of deployments that have failed, by name."""
    return {row.name: DeploymentState(*row) for row in connection.execute(text(STATES))}


def groups_out_of_quota(connection: Connection) -> frozenset[str]:
    """The quota groups whose upstream says that the quota is used up."""
    return frozenset(connection.execute(text("SELECT name FROM quota_groups WHERE out_of_quota")).scalars())


def hold_evidence(connection: Connection, attempt_id: UUID) -> Evidence | None:
    """Lock what is known against the deployment of an attempt; None if it belongs to a known outage."""
    row = connection.execute(_HOLD, {"attempt_id": attempt_id}).one_or_none()
    if row is None:
        return None
    return Evidence(
        row.name,
        FailedCall(row.account_id, row.request),
        row.failures,
        row.misconfigured,
        row.opened,
        tuple(map(_read_call, row.failed)),
        tuple(map(_read_call, row.refused)),
        row.opened_by,
    )


def record_evidence(connection: Connection, evidence: Evidence, reason: str, seconds: float = 0.0) -> None:
    """Keep what is known now; with `seconds` the deployment gets no call for so long, then one at a time."""
    values = {
        "name": evidence.name,
        "failures": evidence.failures,
        "misconfigured": evidence.misconfigured,
        "failed": list(map(_written, evidence.failed)),
        "refused": list(map(_written, evidence.refused)),
        "opened_by": evidence.opened_by,
        "reason": reason,
        "seconds": seconds,
    }
    connection.execute(_RECORD, values)


def served_lately(
    connection: Connection,
    deployment: str,
    quota_group: str,
    *,
    other_than_job: UUID | None = None,
    other_than_account: UUID | None = None,
) -> bool:
    """Whether the deployment served a job within `SERVED_SECONDS`, other than this one or this account's."""
    values = {
        "deployment": deployment,
        "quota_group": quota_group,
        "seconds": SERVED_SECONDS,
        "job_id": other_than_job,
        "account_id": other_than_account,
    }
    return connection.execute(_SERVED, values).scalar_one()


def _written(call: FailedCall) -> str:
    return f"{call.account_id or ''} {call.request}"


def _read_call(written: str) -> FailedCall:
    account_id, request = written.split(" ")
    return FailedCall(UUID(account_id) if account_id else None, int(request))


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
