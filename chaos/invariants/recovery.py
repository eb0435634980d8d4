"""Recovery: jobs wait at most 30 s longer when Redis is emptied."""

from __future__ import annotations

from chaos.evidence import Evidence, Finding
from chaos.faults import Fault

RECOVERY_SECONDS = 30.0
"""A lost doorbell is sent again 15 to 20 s after it was due, and its call needs a worker slot then."""


def an_emptied_redis_is_made_good(evidence: Evidence) -> Finding:
    """Every attempt whose doorbell was lost is begun within 30 s after Redis was emptied.

    The time in which another fault lasted (a stopped dispatcher, a database that was away) is added.
    """
    emptied = [fault for fault in evidence.faults if fault.kind.startswith("redis")]
    wrong, waiting, slowest = list[str](), 0, 0.0
    for fault in emptied:
        limit = _allowed_until(fault, evidence.faults)
        for attempt in evidence.tables["attempts"]:
            moments: list[float] = [attempt[name] for name in ("called", "finished") if attempt[name]]
            taken = min(moments, default=None)
            if attempt["created"] > fault.began or (taken is not None and taken < fault.began):
                continue
            waiting += 1
            slowest = max(slowest, (taken or limit) - fault.began)
            if taken is None or taken > limit:
                wrong.append(f"attempt {attempt['id']} waited longer than {limit - fault.began:.0f} s")
    counts = {"emptied": len(emptied), "attempts that waited": waiting, "slowest s": f"{slowest:.1f}"}
    return Finding("throughput is back within 30 s after Redis is emptied", counts, wrong)


def _allowed_until(emptied: Fault, faults: list[Fault]) -> float:
    until = emptied.began + RECOVERY_SECONDS
    for fault in sorted(faults, key=lambda one: one.began):
        if fault is not emptied and fault.began < until and fault.ended > emptied.began:
            until += fault.ended - max(fault.began, emptied.began)
    return until
