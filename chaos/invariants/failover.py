"""Failover: no job is ERROR while a deployment that can serve it is healthy and idle."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.evidence import Evidence, Finding, Row, moment_of
from chaos.invariants.endings import reason_of_error
from chaos.upstreams import MAX_ATTEMPTS, RPM

GRACE_SECONDS = 5.0
"""A deployment must have been healthy and idle for so long: a pass, a call and its settlement take less."""
RECENT_SECONDS = 5.0
"""A deployment is asked once more before a job ends, unless its last failure is this recent."""
WINDOW_SECONDS = 62.0
"""In which the calls of a deployment count: the window of its quota and the widest guard."""
_OTHER_REASONS = ("deaths", "a deadline")


def no_job_is_error_beside_an_idle_deployment(evidence: Evidence) -> Finding:
    """No job ended as ERROR beside a deployment that could serve it and was healthy and idle.

    T is when the job ended. The deployment was all that in the `GRACE_SECONDS` before T, by these records:

    - It could serve the job: it takes such requests, and had failed it less than `max_attempts` times, or
      exactly so often and the last time more than `RECENT_SECONDS` before T.
    - It was healthy: no spell of the weather was over it that hits the job's prompt, and no call to it met a
      fault, by the simulator's log. Whether its breaker was open does not matter.
    - It was idle: in the window that ends with T it had been granted fewer calls than its quota allows, as
      drifts had lowered it; and no 429 had paused its group.

    Jobs that ended because three processes died, or by a deadline, are left out.
    """
    wrong, looked_at = list[str](), 0
    for job in evidence.jobs:
        if job["status"] != "ERROR" or reason_of_error(evidence, job) in _OTHER_REASONS:
            continue
        looked_at += 1
        wrong += [f"{job['id']} ({job['prompt']}): {name}" for name in _free(evidence, job)]
    return Finding("no job is ERROR beside an idle deployment", {"errors": looked_at}, wrong)


def _free(evidence: Evidence, job: Row) -> Iterator[str]:
    since, until = job["finished"] - GRACE_SECONDS, job["finished"]
    for name in sorted(evidence.serving(job)):
        could = _could_serve(evidence, job, name)
        if could and _was_healthy(evidence, job, name, since) and _was_idle(evidence, name, since, until):
            yield name


def _could_serve(evidence: Evidence, job: Row, deployment: str) -> bool:
    failed = [
        attempt["finished"]
        for attempt in evidence.of("attempts", job)
        if attempt["deployment"] == deployment and attempt["state"] in ("UNAVAILABLE", "UNKNOWN")
    ]
    last = max(failed, default=0.0)
    return len(failed) < MAX_ATTEMPTS + (last < job["finished"] - RECENT_SECONDS)


def _was_healthy(evidence: Evidence, job: Row, deployment: str, since: float) -> bool:
    until = job["finished"]
    if any(spell.hits(deployment, job["prompt"], since, until) for spell in evidence.spells):
        return False
    return not any(since <= moment <= until for moment in evidence.faulted.get(deployment, ()))


def _was_idle(evidence: Evidence, deployment: str, since: float, until: float) -> bool:
    granted = sum(
        since - WINDOW_SECONDS <= attempt["created"] <= until
        for attempt in evidence.by_deployment.get(deployment, ())
    )
    return granted < _quota(evidence, deployment, until) and not _was_paused(
        evidence, deployment, since, until
    )


def _quota(evidence: Evidence, deployment: str, until: float) -> int:
    """Calls a minute after the drifts that were logged; steps back to the full quota are not."""
    lowered = [
        int(line["effective_rpm"])
        for line in evidence.logged
        if line.get("event") == "quota_drift"
        and line["quota_group"] == deployment
        and moment_of(line["timestamp"]) <= until
    ]
    return lowered[-1] if lowered else RPM[deployment]


def _was_paused(evidence: Evidence, deployment: str, since: float, until: float) -> bool:
    return any(
        line.get("event") == "throttled"
        and line["quota_group"] == deployment
        and since - float(line["seconds"]) <= moment_of(line["timestamp"]) <= until
        for line in evidence.logged
    )
