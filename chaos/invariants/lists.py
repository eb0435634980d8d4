"""Lists: none in Redis is longer than the work at hand, whatever is away."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from chaos.evidence import Evidence, Finding, Row
from chaos.stack import CONCURRENCY, WORKERS

GENERATE = "generate."
MOST_CALLS = 2 * WORKERS * (CONCURRENCY + CONCURRENCY // 2)
"""Doorbells that the list of a lane holds: one for each worker slot and each place for a poll.

Twice, because a worker that was killed and the one after it both count until the first is found dead.
"""
EXACTNESS_SECONDS = 2.0
"""By so much a sample and the database's records of the work may be apart."""
STALE_SECONDS = 60.0
"""A doorbell whose attempt ended unbegun may wait for so long: until a worker takes it and drops it."""


def no_list_in_redis_outgrows_its_work(evidence: Evidence) -> Finding:
    """In each sample a list has at most a doorbell for each piece of work at hand, and at most its bound.

    The work at hand is the attempts of the lane that were open at that moment, and what ended in the minute
    before without having been begun, because its doorbell may still wait for a worker. No list but the queues
    of the lanes has messages: deliveries wait in Postgres.
    """
    longest, wrong, works = Counter[str](), list[str](), _works(evidence.tables["attempts"])
    if not evidence.list_looks:
        wrong.append("the lists were never looked at")
    for sample in evidence.lists:
        longest[sample.name] = max(longest[sample.name], sample.length)
        work = works[sample.name.removeprefix(GENERATE)].at(sample.at)
        if sample.length > min(work, MOST_CALLS):
            wrong.append(f"{sample.name}: {sample.length} messages at {sample.at:.1f}, work at hand {work}")
    counts = {"looks": evidence.list_looks, "longest": dict(sorted(longest.items()))}
    return Finding("no list in Redis is longer than the work at hand", counts, wrong)


@dataclass(frozen=True, slots=True)
class _Work:
    """The attempts of a lane: when each began, and when each ceased, to count as work at hand; sorted."""

    began: Sequence[float] = ()
    ended: Sequence[float] = ()

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Self:
        began = sorted(row["created"] - EXACTNESS_SECONDS for row in rows)
        ended = sorted(row["finished"] + _grace(row) for row in rows if row["finished"] is not None)
        return cls(began, ended)

    def at(self, moment: float) -> int:
        """How many attempts were at hand at a moment."""
        return bisect_right(self.began, moment) - bisect_left(self.ended, moment)


def _works(attempts: Sequence[Row]) -> defaultdict[str, _Work]:
    """The work of each lane."""
    of_lane = defaultdict[str, list[Row]](list)
    for row in attempts:
        of_lane[row["lane"]].append(row)
    found = defaultdict[str, _Work](_Work)
    found.update({lane: _Work.of(rows) for lane, rows in of_lane.items()})
    return found


def _grace(row: Row) -> float:
    return STALE_SECONDS if row["called"] is None else EXACTNESS_SECONDS
