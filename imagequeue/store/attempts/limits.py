"""What bounds the calls in flight, read in one statement: every plan of a dispatcher needs all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.jobs import Lane
from imagequeue.store.attempts.calls import OPEN_COUNTS
from imagequeue.store.attempts.deployments import STATES, DeploymentState
from imagequeue.store.processes import FRESH_SECONDS, SLOTS

_READ = text(f"""
    SELECT
        (SELECT json_agg(json_build_array(queue, slots)) FROM ({SLOTS}) AS of_queue (queue, slots)) AS slots,
        (
            SELECT json_agg(json_build_array(deployment, lane, calls))
            FROM ({OPEN_COUNTS}) AS open (deployment, lane, calls)
        ) AS open,
        (
            SELECT json_agg(json_build_array(
                name, failures, misconfigured, reason, blocked_for, opened_by
            )) FROM ({STATES}) AS state
        ) AS states
""")  # noqa: S608  # statements of the store


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Worker slots by queue; calls that are released or in flight by deployment and lane; how deployments do.

    A slot of a worker with several queues is divided, so that the parts add up to the slots that there are.
    """

    slots: Mapping[str, float]
    open_counts: Mapping[tuple[str, Lane], int]
    states: Mapping[str, DeploymentState]


def read_limits(connection: Connection) -> CallLimits:
    """Read them."""
    slots, found, states = connection.execute(_READ, {"fresh": FRESH_SECONDS}).one()
    return CallLimits(
        dict(slots or ()),
        {(deployment, Lane(lane)): count for deployment, lane, count in found or ()},
        {
            name: DeploymentState(name, failures, misconfigured, reason, blocked_for, _account(opened_by))
            for name, failures, misconfigured, reason, blocked_for, opened_by in states or ()
        },
    )


def _account(written: str | None) -> UUID | None:
    return UUID(written) if written else None
