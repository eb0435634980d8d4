"""The hostile client: it is refused and let go in time, and nobody else notices it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from chaos.evidence import Evidence, Finding
from chaos.faults import Fault
from chaos.hostile.exchange import Exchange

CLOSING_SECONDS = 20.0
"""What a busy machine may take to close a connection, and the client to see it: both share two cores."""
BEFORE_SECONDS, AFTER_SECONDS = 5.0, 15.0
"""How far a fault of the database, or of an API process, is felt: a fault is noted when it is made, which
takes seconds itself, and afterwards the API has to find its database again and to answer what waited."""
MEDIAN_SECONDS, SLOWEST_SECONDS = 0.5, 10.0
"""Most that a poll takes at the median, and most that any takes.

On two cores with a load average of 44 it was 0.16 s and 4.5 s. Where one request holds up all others for
seconds on an idle machine, polls are given up here after 15 s.
"""
_DATABASE, _API = ("postgres", "all database connections"), "api"
"""How the kinds, and the targets, of those faults begin."""


def the_hostile_client_is_refused(evidence: Evidence) -> Finding:
    """Each hostile connection is answered as it may be: no 5xx but 503 with `Retry-After`, none too many."""
    told, wrong = Counter[str](), list[str]()
    for one in evidence.hostile:
        told.update(f"{answer.status // 100}xx" for answer in one.answers)
        wrong += [f"{one.shape.name}: {complaint}" for complaint in _complaints(one)]
    if not evidence.hostile:
        wrong.append("it had no connection")
    counts = {"connections": len(evidence.hostile), **dict(sorted(told.items()))}
    return Finding("the hostile client is refused", counts, wrong)


def _complaints(one: Exchange) -> Iterator[str]:
    if len(one.answers) > one.shape.most_answers:
        yield f"{len(one.answers)} answers"
    for answer in one.answers:
        away = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.retry_after
        if answer.status not in one.shape.allowed and not away:
            yield f"answered with {answer.status}"


def no_hostile_connection_outlives_its_bound(evidence: Evidence) -> Finding:
    """The server closes each hostile connection in its bound; the time of our own faults is added."""
    wrong, latest = list[str](), 0.0
    for one in evidence.hostile:
        until = _closed_until(one, evidence.faults)
        if one.ended is None or one.ended > until:
            wrong.append(f"{one.shape.name}: open for more than {until - one.began:.0f} s")
        else:
            latest = max(latest, one.ended - one.began - one.shape.bound_seconds)
    counts = {"latest after its bound, s": f"{latest:.1f}"}
    return Finding("no hostile connection outlives its bound", counts, wrong)


def _closed_until(one: Exchange, faults: Sequence[Fault]) -> float:
    """When the connection must be closed: a process that is stopped, or waits for a server, closes none."""
    until = one.began + one.shape.bound_seconds + CLOSING_SECONDS
    for fault in sorted(faults, key=lambda fault: fault.began):
        if fault.began < until and fault.ended > one.began:
            until += fault.ended - max(fault.began, one.began)
    return until


def others_are_served_beside_the_hostile_client(evidence: Evidence) -> Finding:
    """No other client is answered with 503, except near a fault of ours by which the database was away."""
    faults = _faults_of_the_api(evidence)
    unexplained = [one for one in evidence.notes.outages if not _is_near(faults, one.at, one.at)]
    wrong = [f"at {one.at:.1f}: {one.text}" for one in unexplained]
    counts = {"503 beside our own faults": len(evidence.notes.outages) - len(unexplained)}
    return Finding("others are served beside the hostile client", counts, wrong)


def the_status_route_stays_quick(evidence: Evidence) -> Finding:
    """Polls take `MEDIAN_SECONDS` at the median and `SLOWEST_SECONDS` at most, where no fault is near."""
    faults = _faults_of_the_api(evidence)
    calm = [
        poll for poll in evidence.notes.polls if not _is_near(faults, poll.began, poll.began + poll.seconds)
    ]
    seconds = sorted(poll.seconds for poll in calm)
    if not seconds:
        return Finding("the status route stays quick", {"polls": 0}, ["no poll was far from every fault"])
    median, slowest = seconds[len(seconds) // 2], seconds[-1]
    wrong = [
        f"{name} {found:.2f} s, at most {most:.2f} s"
        for name, found, most in (("median", median, MEDIAN_SECONDS), ("slowest", slowest, SLOWEST_SECONDS))
        if found > most
    ]
    counts = {"polls": len(seconds), "median s": f"{median:.3f}", "slowest s": f"{slowest:.3f}"}
    return Finding("the status route stays quick", counts, wrong)


def _faults_of_the_api(evidence: Evidence) -> Sequence[Fault]:
    return [
        fault
        for fault in evidence.faults
        if fault.kind.startswith(_DATABASE) or fault.target.startswith(_API)
    ]


def _is_near(faults: Sequence[Fault], since: float, until: float) -> bool:
    return any(
        fault.began - BEFORE_SECONDS <= until and since <= fault.ended + AFTER_SECONDS for fault in faults
    )
