"""How fast a batch goes, when it will be done, and why it is not faster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from sqlalchemy import Connection

from imagequeue.domain.batches import OPEN_BATCHES, BatchState, PauseReason
from imagequeue.domain.breaker import Breaker
from imagequeue.domain.catalog import Catalog
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.expand.window import Rates, fetched
from imagequeue.store.batches.views import BatchPace, BatchView, FlowClass, flow_classes, read_pace

_QUARTER = 15
"""Minutes of the longer of the two rates."""

_PAUSED = {
    PauseReason.OPERATOR: "It was paused by hand, or has run as many lines as it was to run first; resume it",
    PauseReason.FAILURE_RATE: "Too many of the last lines failed; look at its errors, then resume it",
    PauseReason.UNKNOWN_OUTCOMES: "What became of some calls is unknown; retry their lines or give them up",
    PauseReason.WALLET: "The wallet does not suffice for the next line; deposit funds",
    PauseReason.BUDGET: "The budget does not suffice for the next line; raise it",
    PauseReason.NO_DEPLOYMENT: "No deployment of the catalog can serve the next line",
}


@dataclass(frozen=True, slots=True)
class BatchForecast:
    """Jobs that have a call, jobs that ended lately, what quotas allow, and why it is not faster.

    `eta_seconds` is None where nothing says how long it will take.
    """

    running: int
    last_minute: int
    last_quarter: int
    quota_per_minute: float
    eta_seconds: int | None
    reasons: Sequence[str]


def read_forecast(connection: Connection, catalog: Catalog, batch: BatchView) -> BatchForecast:
    """Read how fast a batch goes: a handful of queries, whatever its size."""
    classes = flow_classes(connection, batch.id)
    pace = read_pace(connection, batch.id)
    rates = Rates.read(connection, Eligibility(catalog))
    quota = sum(rates.jobs_in_window(one.model_id, fetched(one.requirement)) for one in classes)
    return BatchForecast(
        running=pace.running,
        last_minute=pace.last_minute,
        last_quarter=pace.last_quarter,
        quota_per_minute=quota,
        eta_seconds=_eta(batch, pace, quota),
        reasons=list(_reasons(batch, classes, rates)),
    )


def _eta(batch: BatchView, pace: BatchPace, quota: float) -> int | None:
    """By the pace of the last minutes where it has one, else by the quotas."""
    left = batch.counts["waiting"] + batch.counts["queued"]
    if batch.state is not BatchState.IN_PROGRESS or not left:
        return None
    per_minute = max(pace.last_quarter / _QUARTER, pace.last_minute) or quota
    return ceil(left / per_minute * 60) if per_minute else None


def _reasons(batch: BatchView, classes: Sequence[FlowClass], rates: Rates) -> Iterator[str]:
    if batch.state is BatchState.VALIDATING:
        yield f"Its file is being validated: {sum(part.line_count for part in batch.parts)} lines so far"
    yield from (_PAUSED[reason] for reason in batch.reasons)
    if batch.state in OPEN_BATCHES and batch.counts["waiting"] + batch.counts["queued"]:
        yield from sorted({text for one in classes for text in _limits(one, rates)})


def _limits(one: FlowClass, rates: Rates) -> Iterator[str]:
    """What each deployment that can serve a class allows."""
    for deployment in rates.eligibility.deployments(one.model_id, fetched(one.requirement)):
        group = rates.groups.get(deployment.group)
        if rates.limits.breaker(deployment) is Breaker.OPEN:
            yield f"Deployment {deployment.name} fails, and is left out for a while"
        elif group is None or group.out_of_quota:
            yield f"Quota group {deployment.group} is out of quota, says its upstream"
        else:
            calls = round(group.quota.rate * 60, 2)
            yield f"Quota group {deployment.group} allows {calls:g} calls a minute"
