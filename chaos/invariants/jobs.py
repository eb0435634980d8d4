"""Jobs: none is lost, none is made twice, each becomes final, and none moves backwards."""

from __future__ import annotations

from collections import Counter

from chaos.evidence import Evidence, Finding

FINAL = {"COMPLETED", "FAILED", "ERROR"}
FINAL_SECONDS = 150.0
"""After the faults: a breaker that is open (30 s), the longest back-off of a job (60 s), and the backlog."""
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
    """There is one job for each `Idempotency-Key`, however often its client repeated the submit."""
    per_prompt = Counter(str(job["prompt"]) for job in evidence.jobs)
    twice = [f"{prompt}: {count} jobs" for prompt, count in per_prompt.items() if count > 1]
    ids = Counter(evidence.notes.acknowledged.values())
    twice += [f"{id_} was the answer to {count} keys" for id_, count in ids.items() if count > 1]
    counts = {"jobs": len(evidence.jobs), "repeats by clients": evidence.notes.repeats}
    return Finding("one Idempotency-Key is one job", counts, twice)


def every_job_is_final_in_time(evidence: Evidence) -> Finding:
    """Every job is final, and was so within `FINAL_SECONDS` after the faults."""
    statuses = Counter(str(job["status"]) for job in evidence.jobs)
    open_jobs = [
        f"{job['id']} is {job['status']}" for job in evidence.jobs if str(job["status"]) not in FINAL
    ]
    late = evidence.drained_at is None or evidence.drained_at - evidence.calm_at > FINAL_SECONDS
    if late:
        open_jobs.append(f"the last job was not final {FINAL_SECONDS:.0f} s after the faults")
    seconds = (evidence.drained_at or 0) - evidence.calm_at
    counts = {**statuses, "seconds after the faults": f"{max(0.0, seconds):.0f}"}
    return Finding("every job is final", counts, open_jobs)


def no_job_moved_backwards(evidence: Evidence) -> Finding:
    """Each job entered each status once and in order, and no client saw another order."""
    wrong = list[str]()
    for job in evidence.jobs:
        ranks = [_RANK[str(event["status"])] for event in evidence.of("events", job)]
        if ranks != sorted(set(ranks)):
            wrong.append(f"{job['id']}: {[event['status'] for event in evidence.of('events', job)]}")
    wrong += [note for note in evidence.notes.wrong if "moved backwards" in note]
    counts = {"events": len(evidence.tables["events"]), "polls": evidence.notes.polls}
    return Finding("no job moved backwards", counts, wrong)
