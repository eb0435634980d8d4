"""Report: the state of every deployment and of its quota group, for operators."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.quota import next_start
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.store.attempts import quota
from imagequeue.store.attempts.deployments import DeploymentState
from imagequeue.store.attempts.quota import Group


@dataclass(frozen=True, slots=True)
class DeploymentReport:
    """One deployment. Times are seconds; `last_error` may name addresses, never keys or prompts.

    `next_start_in` is None where the dispatcher has not seen the quota group yet. `effective_rpm` and
    `guard_seconds` differ from the catalog's while the quota drifts; `quota_drift` counts the 429s that our
    own calls do not explain, `throttled` all of them.
    """

    name: str
    model: str
    provider: str
    quota_group: str
    order: int
    rpm: int
    effective_rpm: int
    window_seconds: float
    guard_seconds: float
    tokens_out: int
    next_start_in: float | None
    in_flight: int
    breaker: Breaker
    probe_in: float | None
    failures_in_a_row: int
    misconfigured: bool
    out_of_quota: bool
    throttled: int
    quota_drift: int
    last_error: str | None


def report_deployments(connection: Connection, catalog: Catalog) -> list[DeploymentReport]:
    """The state of each of the catalog's deployments now."""
    groups = quota.read_groups(connection, list(catalog.quota_groups), 1)
    limits = ConcurrencyLimits.read(connection)
    return [
        _report(deployment, catalog, groups.get(deployment.group), limits)
        for deployment in catalog.deployments
    ]


def _report(
    deployment: Deployment, catalog: Catalog, group: Group | None, limits: ConcurrencyLimits
) -> DeploymentReport:
    state = limits.states.get(deployment.name)
    rpm = catalog.rpm(deployment)
    return DeploymentReport(
        name=deployment.name,
        model=deployment.model,
        provider=deployment.provider,
        quota_group=deployment.group,
        order=deployment.order,
        rpm=rpm,
        effective_rpm=group.quota.rpm if group else rpm,
        window_seconds=deployment.window_seconds,
        guard_seconds=group.quota.guard if group else deployment.guard_ms / 1000,
        tokens_out=group.out if group else 0,
        next_start_in=_next_start_in(group, state),
        in_flight=limits.open_calls.by_deployment[deployment.name],
        breaker=limits.breaker(deployment),
        probe_in=_probe_in(state),
        failures_in_a_row=state.failures if state else 0,
        misconfigured=state is not None and state.misconfigured,
        out_of_quota=group is not None and group.out_of_quota,
        throttled=group.throttled if group else 0,
        quota_drift=group.drifts if group else 0,
        last_error=(state and state.reason) or (group and group.reason) or None,
    )


def _next_start_in(group: Group | None, state: DeploymentState | None) -> float | None:
    if group is None:
        return None
    quota_allows = next_start(group.quota, group.state) - group.state.now
    return round(max(0.0, quota_allows, state.blocked_for if state else 0.0), 3)


def _probe_in(state: DeploymentState | None) -> float | None:
    if state is None or state.breaker is Breaker.CLOSED:
        return None
    return round(max(0.0, state.blocked_for), 3)
