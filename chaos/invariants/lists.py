"""Lists: none in Redis is longer than the work at hand, whatever is away."""

from __future__ import annotations

from collections import Counter

from chaos.evidence import Evidence, Finding, Row
from chaos.redis_lists import ListLength
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
    longest, wrong = Counter[str](), list[str]()
    if not evidence.list_looks:
        wrong.append("the lists were never looked at")
    for sample in evidence.lists:
        longest[sample.name] = max(longest[sample.name], sample.length)
        work = _at_hand(evidence, sample)
        if sample.length > min(work, MOST_CALLS):
            wrong.append(f"{sample.name}: {sample.length} messages at {sample.at:.1f}, work at hand {work}")
    counts = {"looks": evidence.list_looks, "longest": dict(sorted(longest.items()))}
    return Finding("no list in Redis is longer than the work at hand", counts, wrong)


def _at_hand(evidence: Evidence, sample: ListLength) -> int:
    lane = sample.name.removeprefix(GENERATE)
    return sum(
        row["lane"] == lane and _is_open(row, sample.at, begun=row["called"] is not None)
        for row in evidence.tables["attempts"]
    )


def _is_open(row: Row, moment: float, *, begun: bool) -> bool:
    if row["created"] > moment + EXACTNESS_SECONDS:
        return False
    grace = EXACTNESS_SECONDS if begun else STALE_SECONDS
    return row["finished"] is None or row["finished"] >= moment - grace
