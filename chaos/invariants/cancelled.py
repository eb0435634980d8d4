"""Cancelled jobs: a job that was cancelled while QUEUED makes no upstream call."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

from chaos.evidence import Evidence, Finding


def a_job_cancelled_in_time_was_not_called(evidence: Evidence) -> Finding:
    """A job whose cancel was accepted is FAILED, and was not called if it was QUEUED."""
    seen = Counter(str(call["prompt"]) for call in evidence.calls)
    accepted = {id_[-36:] for id_, status in evidence.notes.cancels.items() if status == HTTPStatus.ACCEPTED}
    wrong, waiting = list[str](), 0
    for job in evidence.jobs:
        if str(job["id"]) not in accepted:
            continue
        if job["status"] != "FAILED":
            wrong.append(f"{job['id']}: its cancel was accepted, and it is {job['status']}")
        statuses = [str(event["status"]) for event in evidence.of("events", job)]
        if "PROCESSING" not in statuses:
            waiting += 1
            if seen[job["prompt"]]:
                wrong.append(f"{job['id']}: cancelled while it waited, and called")
    counts = {"cancelled": len(accepted), "of them while they waited": waiting}
    return Finding("a job cancelled before its start makes no call", counts, wrong)
