"""Endings: trying has an end, and no job ends as an error without its reason."""

from __future__ import annotations

from collections import Counter

from chaos.evidence import Evidence, Finding, Row
from chaos.upstreams import MAX_ATTEMPTS

MAX_DEATHS = 3
_FAILED = ("UNAVAILABLE", "UNKNOWN")


def attempts_are_bounded(evidence: Evidence) -> Finding:
    """No job fails in more rounds than are allowed, nor in more attempts than so many rounds can have."""
    wrong, most = list[str](), 0
    for job in evidence.jobs:
        attempts = evidence.of("attempts", job)
        failed, rounds = len(_failed(attempts)), _rounds(attempts)
        most = max(most, rounds)
        if rounds > MAX_ATTEMPTS or failed > MAX_ATTEMPTS * job["image_count"]:
            wrong.append(f"{job['id']}: {failed} failed attempts in {rounds} rounds")
    return Finding("attempts are bounded", {"most failures of one job": most}, wrong)


def every_error_has_its_reason(evidence: Evidence) -> Finding:
    """As many rounds failed as are allowed, or three processes died over it, or its deadline passed.

    None of these deployments forbids to repeat a call whose outcome is unknown, so that is no reason here.
    """
    wrong, reasons = list[str](), Counter[str]()
    for job in evidence.jobs:
        if job["status"] != "ERROR":
            continue
        reason = _reason(job, evidence.of("attempts", job))
        reasons[reason or "none"] += 1
        wrong += [] if reason else [f"{job['id']}: {job['body']}"]
    return Finding("every error has its reason", {"errors": reasons.total(), **reasons}, wrong)


def _reason(job: Row, attempts: list[Row]) -> str | None:
    if len({attempt["process_id"] for attempt in attempts if attempt["process_died"]}) >= MAX_DEATHS:
        return "deaths"
    if _rounds(attempts) >= MAX_ATTEMPTS:
        return "failures"
    deadlines = [job[name] for name in ("start_by", "finish_by") if job[name]]
    return "a deadline" if deadlines and min(deadlines) <= job["finished_at"] else None


def _rounds(attempts: list[Row]) -> int:
    """How many failures count: each of an attempt that was granted after the one before had failed."""
    rounds, last = 0, float("-inf")
    for attempt in sorted(_failed(attempts), key=lambda one: one["finished"]):
        if attempt["created"] > last:
            rounds, last = rounds + 1, attempt["finished"]
    return rounds


def _failed(attempts: list[Row]) -> list[Row]:
    return [attempt for attempt in attempts if str(attempt["state"]) in _FAILED]
