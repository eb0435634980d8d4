"""When an answer to a client that waited was that of its job, and when a lost one was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from chaos.evidence import Evidence
from chaos.invariants.waits import a_lost_answer_is_found_by_its_key, every_client_that_waited_got_its_job
from chaos.notes import Reply
from chaos.waiting_kinds import Ending, mark_of
from tests.chaos.runs import (
    CANCELLED,
    JOB,
    NOW,
    PRICE,
    answered,
    change,
    faultless,
    job_row,
    ledger_entry,
    reread,
)
from tests.media.pictures import picture

URL = "http://127.0.0.1:1/media/token/output.png"


def told(*images: str, status: str = "COMPLETED") -> Callable[[Evidence], object]:
    """The client was told this end."""
    return lambda run: run.notes.waits.update({"key 0": [answered(ending=Ending(status, images))]})


def named_by_url(run: Evidence, url: str) -> None:
    run.jobs[0]["body"] = json.dumps({"output": {"media_url": [URL]}})
    told(url)(run)


ANSWERS: dict[str, tuple[Callable[[Evidence], object], bool]] = {
    "its image": (told(mark_of(picture())), True),
    "the bytes of another image": (told(mark_of(b"another")), False),
    "its image twice": (told(mark_of(picture()), mark_of(picture())), False),
    "no image": (told(), False),
    "the image's URL": (lambda run: named_by_url(run, URL), True),
    "another URL": (lambda run: named_by_url(run, f"{URL}?"), False),
    "that it failed": (told(status="FAILED"), False),
    "the failure of a job that failed": (
        lambda run: (run.jobs[0].update(status="FAILED"), told(status="FAILED")(run)),
        True,
    ),
    "a failure as an error": (
        lambda run: (run.jobs[0].update(status="FAILED"), told(status="ERROR")(run)),
        False,
    ),
    "an image of a job that failed": (
        lambda run: (run.jobs[0].update(status="FAILED"), told(mark_of(picture()), status="FAILED")(run)),
        False,
    ),
    "another client's job": (
        lambda run: run.notes.waits.update({"key 0": [answered(request_id=f"model_{CANCELLED}")]}),
        False,
    ),
    "a job that there is not": (
        lambda run: run.notes.waits.update({"key 0": [answered(request_id=f"model_{uuid4()}")]}),
        False,
    ),
    "that the job goes on, and nothing else": (
        lambda run: run.notes.waits.update({"key 0": [Reply(NOW, 504, f"model_{JOB}")]}),
        False,
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_client_that_waited_is_answered_with_its_own_jobs_end(answer: str) -> None:
    happened, is_right = ANSWERS[answer]
    run = faultless()
    happened(run)
    finding = every_client_that_waited_got_its_job(reread(run))
    assert len(finding.violations) == (0 if is_right else 1)


def replies(*before: Reply, last: Reply | None = None) -> Callable[[Evidence], object]:
    return lambda run: run.notes.waits.update({"key 0": [*before, last or answered()]})


BROKEN = Reply(NOW - 0.2, lost="broken off")
TWICE = job_row(uuid4(), 0, "COMPLETED")

REPEATS: dict[str, tuple[Callable[[Evidence], object], bool]] = {
    "a connection that broke before the answer": (replies(BROKEN), True),
    "one that broke behind the answer's head": (replies(replace(BROKEN, request_id=f"model_{JOB}")), True),
    "a limit that was reached": (replies(Reply(NOW, 504, f"model_{JOB}")), True),
    "a database that was away": (replies(Reply(NOW, 503)), True),
    "a submit that did not arrive": (
        replies(BROKEN, last=answered(began=NOW - 0.1, joined=False)),
        True,
    ),
    "a repeat that does not say so": (replies(BROKEN, last=answered(joined=False)), False),
    "a head that named another job": (replies(Reply(NOW, request_id=f"model_{CANCELLED}")), False),
    "a second job": (lambda run: run.jobs.append(TWICE), False),
    "a second hold": (
        lambda run: run.tables["ledger"].append(ledger_entry("HOLD", -PRICE, job_id=JOB)),
        False,
    ),
    "no hold": (lambda run: run.tables["ledger"].pop(1), False),
}


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_client_that_lost_its_answer_finds_its_job_by_its_key(repeat: str) -> None:
    happened, is_right = REPEATS[repeat]
    run = faultless()
    happened(run)
    finding = a_lost_answer_is_found_by_its_key(reread(run))
    assert len(finding.violations) == (0 if is_right else 1)
    assert sum(int(str(finding.counts[name])) for name in ("hung up", "broken off")) <= 1


def test_what_happened_to_the_clients_is_counted() -> None:
    run = faultless()
    run.notes.waits["key 0"].insert(0, BROKEN)
    finding = a_lost_answer_is_found_by_its_key(reread(run))
    assert finding.counts == {"broken off": 1, "silence": 0, "hung up": 1, "joined": 1}
    change("jobs", prompt="another")(run)
    assert a_lost_answer_is_found_by_its_key(reread(run)).violations
