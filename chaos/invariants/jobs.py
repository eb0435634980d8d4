"""Jobs: none is lost, none is made twice, each becomes final, and none moves backwards."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from chaos.evidence import Evidence, Finding

FINAL = {"COMPLETED", "FAILED", "ERROR"}
FINAL_SECONDS = 150.0
"""After the faults another job is final at least so often, until all are.

A job may wait for a breaker that is open and for its longest back-off (60 s). The backlog takes as long as
the machine needs for it, so there is no bound for all jobs together.
"""
_RANK = {"QUEUED": 0, "PROCESSING": 1, "COMPLETED": 2, "FAILED": 2, "ERROR": 2}


def every_acknowledged_request_exists(evidence: Evidence) -> Finding:
    """Every request that was acknowledged is a job, and every order was acknowledged in the end."""
    known = {str(job["id"]) for job in evidence.jobs}
    promised = evidence.notes.acknowledged
    lost = [f"{key}: {id_}" for key, id_ in promised.items() if id_[-36:] not in known]
    unanswered = [order.key for order in evidence.orders if order.key not in promised]
    lost += [f"{key} was never acknowledged" for key in unanswered]
    return Finding("every acknowledged request exists", {"acknowledged": len(promised)}, lost)


def one_key_is_one_job(evidence: Evidence) -> Finding:
    """There is one job for each `Idempotency-Key`, however often its client repeated the submit.

    A line of a backfill has one for each time that it ran: the first one, and one for each of its retries.
    """
    per_prompt = Counter(str(job["prompt"]) for job in evidence.jobs)
    retries = {
        evidence.backfill.prompts.get(line["custom_id"]): line["retries"] for line in evidence.tables["lines"]
    }
    twice = [
        f"{prompt}: {count} jobs"
        for prompt, count in per_prompt.items()
        if count > 1 + retries.get(prompt, 0)
    ]
    ids = Counter(evidence.notes.acknowledged.values())
    twice += [f"{id_} was the answer to {count} keys" for id_, count in ids.items() if count > 1]
    counts = {"jobs": len(evidence.jobs), "repeats by clients": evidence.notes.repeats}
    return Finding("one Idempotency-Key is one job", counts, twice)


def every_job_is_final_in_time(evidence: Evidence) -> Finding:
    """Every job is final, and after the faults no `FINAL_SECONDS` passed in which none became so."""
    statuses = Counter(str(job["status"]) for job in evidence.jobs)
    open_jobs = [
        f"{job['id']} is {job['status']}" for job in evidence.jobs if str(job["status"]) not in FINAL
    ]
    longest = _longest_wait(evidence)
    if longest > FINAL_SECONDS:
        open_jobs.append(f"no job became final in {longest:.0f} s after the faults")
    if evidence.drained_at is None:
        open_jobs.append("jobs, attempts or deliveries are still open")
    seconds = (evidence.drained_at or 0) - evidence.calm_at
    counts = {**statuses, "seconds after the faults": f"{max(0.0, seconds):.0f}"}
    return Finding("every job is final", counts, open_jobs)


def _longest_wait(evidence: Evidence) -> float:
    """Seconds, after the faults and until the last job was final, in which none became so.

    Deliveries may be open for longer: their receiver hung, and they come later by their schedule.
    """
    finals = [job["finished"] for job in evidence.jobs if job["finished"] is not None]
    moments = [evidence.calm_at, *sorted(one for one in finals if one > evidence.calm_at)]
    return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)


def no_job_moved_backwards(evidence: Evidence) -> Finding:
    """Each job entered each status once and in order, and no client saw another order."""
    wrong = list[str]()
    for job in evidence.jobs:
        ranks = [_RANK[str(event["status"])] for event in evidence.of("events", job)]
        if ranks != sorted(set(ranks)):
            wrong.append(f"{job['id']}: {[event['status'] for event in evidence.of('events', job)]}")
    wrong += [note for note in evidence.notes.wrong if "moved backwards" in note]
    counts = {"events": len(evidence.tables["events"]), "polls": len(evidence.notes.polls)}
    return Finding("no job moved backwards", counts, wrong)
