"""Endings: the attempts of a job are bounded, and a job is ERROR only for a reason that the rules name."""

from __future__ import annotations

from collections import Counter, defaultdict

from chaos.evidence import Evidence, Finding, Row
from chaos.upstreams import MAX_ATTEMPTS

MAX_DEATHS = 3
"""A job is ERROR when so many processes died while they called for it."""
_FAILED = ("UNAVAILABLE", "UNKNOWN")


def attempts_are_bounded(evidence: Evidence) -> Finding:
    """No deployment fails a job more than `max_attempts` times and once more before the job ends.

    Attempts that ran at the same time are one failure, and there are at most as many as images.
    """
    wrong, most = list[str](), 0
    for job in evidence.jobs:
        for name, attempts in _failed_by_deployment(evidence.of("attempts", job)).items():
            rounds = _rounds(attempts)
            most = max(most, rounds)
            if rounds > MAX_ATTEMPTS + 1 or len(attempts) > (MAX_ATTEMPTS + 1) * job["image_count"]:
                wrong.append(f"{job['id']}: {len(attempts)} failed attempts in {rounds} rounds at {name}")
    return Finding("attempts are bounded", {"most failures of one job at one deployment": most}, wrong)


def every_error_has_its_reason(evidence: Evidence) -> Finding:
    """A job is ERROR because all its deployments failed it `max_attempts` times, or for one of three reasons.

    Its deployments are those that can serve it. The reasons are: three processes died while they called for
    it; its deadline passed; or one deployment failed it `max_attempts` times and served another job
    meanwhile, and the others were out. A call whose outcome is unknown is no reason, because all deployments
    of this catalog allow to repeat it.
    """
    wrong, reasons = list[str](), Counter[str]()
    for job in evidence.jobs:
        if job["status"] != "ERROR":
            continue
        reason = reason_of_error(evidence, job)
        reasons[reason or "none"] += 1
        wrong += [] if reason else [f"{job['id']}: {job['body']}"]
    return Finding("every error has its reason", {"errors": reasons.total(), **reasons}, wrong)


def reason_of_error(evidence: Evidence, job: Row) -> str | None:
    """The rule by which a job is ERROR; None if no rule says so."""
    attempts = evidence.of("attempts", job)
    if len({attempt["process_id"] for attempt in attempts if attempt["process_died"]}) >= MAX_DEATHS:
        return "deaths"
    failed = _failed_by_deployment(attempts)
    used_up = {name for name, some in failed.items() if _rounds(some) >= MAX_ATTEMPTS}
    if used_up >= evidence.serving(job):
        return "failures"
    if any(_served_others(evidence, job, name, failed[name]) for name in used_up):
        return "failures where others were served"
    deadlines = [job[name] for name in ("start_by", "finish_by") if job[name]]
    return "a deadline" if deadlines and min(deadlines) <= job["finished_at"] else None


def _served_others(evidence: Evidence, job: Row, deployment: str, failed: list[Row]) -> bool:
    """Whether a deployment served another job after it had failed this one."""
    since = min(attempt["finished"] for attempt in failed)
    return any(
        attempt["job_id"] != job["id"] and attempt["state"] == "SUCCEEDED" and attempt["finished"] > since
        for attempt in evidence.by_deployment[deployment]
    )


def _rounds(failed: list[Row]) -> int:
    """How many failures count: those of attempts that were granted after the one before had failed."""
    rounds, last = 0, float("-inf")
    for attempt in sorted(failed, key=lambda one: one["finished"]):
        if attempt["created"] > last:
            rounds, last = rounds + 1, attempt["finished"]
    return rounds


def _failed_by_deployment(attempts: list[Row]) -> dict[str, list[Row]]:
    failed = defaultdict[str, list[Row]](list)
    for attempt in attempts:
        if str(attempt["state"]) in _FAILED:
            failed[attempt["deployment"]].append(attempt)
    return failed
