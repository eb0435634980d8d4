"""What one pass of the dispatcher knows. Overflow, balance and claim decide from the same readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imagequeue.domain.catalog import Deployment
from imagequeue.lifecycle.dispatch.backlog import Waiting
from imagequeue.lifecycle.dispatch.concurrency import ConcurrencyLimits
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.store.attempts.quota import Group


@dataclass(slots=True)
class Pass:
    """Everything was read at the start of the pass; `waiting` and `limits` follow what it claims.

    `at_once` is the most calls that one transaction grants, and that are planned ahead. `again` are the
    deployments of the groups that are asked once more at its end.
    """

    eligibility: Eligibility
    groups: Mapping[str, Group]
    waiting: Waiting
    limits: ConcurrencyLimits
    at_once: int
    again: list[Sequence[Deployment]] = field(default_factory=list[Sequence[Deployment]])
