"""Estimate what a file would cost and how long it would take, before anything is paid.

A dry run is a batch whose file is validated and whose lines are not inserted; it is completed by that. So the
work is durable, and is done where that of other files is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.batches import BatchState
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.quota import Quota
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.expand.window import fetched
from imagequeue.store.batches.estimates import read_dry_run

MOST_TOGETHER = 12
"""Classes of which all sets are looked at; of more, each one and all together."""


@dataclass(frozen=True, slots=True)
class BatchEstimate:
    """What a file would take. `skipped` lines are those that an earlier batch has completed.

    `seconds` is what the quotas need if nothing else uses them, and `limited_by` the quota groups that are
    busy to the end; None and none before `state` is COMPLETED, and where a class has no deployment. `errors`
    are the first hundred, as a batch has them.
    """

    state: BatchState
    lines: int
    skipped: int
    images: int
    price_usd: Decimal
    seconds: int | None
    limited_by: Sequence[str]
    errors: Sequence[Mapping[str, Any]]


def read_estimate(
    connection: Connection, catalog: Catalog, account_id: UUID, batch_id: UUID
) -> BatchEstimate | None:
    """The estimate of a dry run, or how far it is; None: the account has no such dry run."""
    found = read_dry_run(connection, account_id, batch_id)
    if found is None:
        return None
    calls = _calls(Eligibility(catalog), found.demand)
    seconds, groups = _longest(catalog, calls)
    return BatchEstimate(
        state=found.state,
        lines=found.line_count - found.skipped_count,
        skipped=found.skipped_count,
        images=found.image_count,
        price_usd=found.price_usd,
        seconds=seconds,
        limited_by=groups,
        errors=found.errors,
    )


def _calls(
    eligibility: Eligibility, demand: Sequence[tuple[str, str, int]]
) -> Mapping[frozenset[str], float]:
    """How many calls may go to which quota groups only. A job of several images may need several calls."""
    calls = dict[frozenset[str], float]()
    for model_id, requirement, lines in demand:
        plain = fetched(requirement)
        serving = eligibility.deployments(model_id, plain)
        images = max((eligibility.images_of_a_job(one, plain) for one in serving), default=1)
        groups = frozenset(one.group for one in serving)
        each = ceil(eligibility.image_count(plain) / images)
        calls[groups] = calls.get(groups, 0) + lines * each
    return calls


def _longest(catalog: Catalog, calls: Mapping[frozenset[str], float]) -> tuple[int | None, Sequence[str]]:
    """Seconds until the last call has started, and the groups that are busy until then.

    Calls that can go to a set of groups alone take as long as those groups need for all of them; the longest
    such time over all sets of classes is the shortest that is possible (the dual of a maximum flow).
    """
    if not calls or not all(calls):
        return None, ()
    found = [(_seconds(catalog, calls, classes), classes) for classes in _sets(list(calls))]
    seconds, classes = max(found, key=lambda one: one[0])
    return ceil(seconds), sorted(frozenset[str]().union(*classes))


def _seconds(
    catalog: Catalog, calls: Mapping[frozenset[str], float], classes: Collection[frozenset[str]]
) -> float:
    groups = frozenset[str]().union(*classes)
    within = sum(count for needed, count in calls.items() if needed <= groups)
    return within / sum(_rate(catalog, group) for group in groups)


def _sets(classes: Sequence[frozenset[str]]) -> Iterator[Collection[frozenset[str]]]:
    if len(classes) > MOST_TOGETHER:
        yield from ([one] for one in classes)
        yield classes
        return
    for size in range(1, len(classes) + 1):
        yield from combinations(classes, size)


def _rate(catalog: Catalog, name: str) -> float:
    """Calls a second that a quota group allows."""
    group = catalog.quota_groups[name]
    return Quota(group.rpm, group.window_seconds, group.guard_ms / 1000, group.pace).rate
