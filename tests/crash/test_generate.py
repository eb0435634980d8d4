"""The worker dies: around the start of a call, after sending, in the middle of an answer, around settling."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.builders import MODEL
from tests.crash.conftest import Crash, MakeCrash
from tests.eventually import eventually


@pytest.mark.parametrize(
    ("point", "left", "states", "calls"),
    [
        ("generate.before_start", "RELEASED", ["GIVEN_BACK", "SUCCEEDED"], 1),
        ("generate.started", "CALLING", ["UNKNOWN", "SUCCEEDED"], 1),
        ("generate.sent", "CALLING", ["UNKNOWN", "SUCCEEDED"], 2),
        ("generate.answered", "CALLING", ["UNKNOWN", "SUCCEEDED"], 2),
        ("generate.stored_1", "CALLING", ["SUCCEEDED"], 1),
        ("generate.before_settle", "CALLING", ["SUCCEEDED"], 1),
        ("settle.before_commit", "CALLING", ["SUCCEEDED"], 1),
        ("settle.after_commit", "SUCCEEDED", ["SUCCEEDED"], 1),
    ],
)
def test_the_job_is_completed_and_charged_once(
    crash: Crash, point: str, left: str, states: list[str], calls: int
) -> None:
    job_id, attempt_id = crash.release(webhook_url="https://receiver.example.com/hook")
    crash.die("generate", point, attempt_id)
    assert crash.pipeline.states(job_id) == [left]
    if left == "RELEASED":  # the two seconds of its start window pass before it is rung again
        crash.pipeline.execute("UPDATE attempts SET slot_at = slot_at - interval '1 minute'")
        crash.pipeline.is_punctual = False
    crash.recover()
    assert (crash.pipeline.status(job_id), crash.pipeline.states(job_id)) == ("COMPLETED", states)
    assert crash.generated() == [1] * calls
    assert crash.kinds() == ["HOLD", "CAPTURE"]
    assert crash.pipeline.rows("SELECT count(*) FROM deliveries") == [(1,)]


@pytest.mark.parametrize("point", ["generate.started", "generate.sent"])
def test_the_token_of_a_call_that_may_have_been_sent_stays_out_for_a_window(crash: Crash, point: str) -> None:
    _, attempt_id = crash.release()
    crash.die("generate", point, attempt_id)
    crash.bury()
    crash.pipeline.sweep.recover()
    out = "SELECT token_returns_at > clock_timestamp() + interval '50 s', sent_at IS NULL FROM attempts"
    assert crash.pipeline.rows(out) == [(True, True)]


def test_an_attempt_whose_process_lives_is_left_alone(crash: Crash) -> None:
    job_id, attempt_id = crash.release()
    crash.die("generate", "generate.sent", attempt_id)
    assert crash.pipeline.sweep.recover() == 0
    assert crash.pipeline.states(job_id) == ["CALLING"]


def test_in_the_middle_of_the_answers_body(crash: Crash) -> None:
    job_id, attempt_id = crash.release()
    crash.pipeline.fault(kind="drip", bytes_per_second=100, count=1)
    pid = crash.start("generate", attempt_id)
    eventually(lambda: crash.pipeline.rows("SELECT 1 FROM attempts WHERE sent_at IS NOT NULL"))
    assert crash.generated() == [1]
    os.kill(pid, signal.SIGKILL)
    assert crash.mother.end() == -signal.SIGKILL
    crash.recover()
    assert (crash.pipeline.status(job_id), crash.pipeline.states(job_id)) == (
        "COMPLETED",
        ["UNKNOWN", "SUCCEEDED"],
    )
    assert crash.kinds() == ["HOLD", "CAPTURE"]


def test_after_two_of_three_images_are_stored_only_the_third_is_asked_for(make_crash: MakeCrash) -> None:
    crash = make_crash(upstream="omixa", provider="omixa", upstream_model="MAI-Image-2.5")
    job_id, attempt_id = crash.release(image_count=3)
    crash.die("generate", "generate.stored_2", attempt_id)
    crash.recover()
    assert crash.pipeline.status(job_id) == "COMPLETED"
    assert crash.generated() == [3, 1]
    rows = crash.pipeline.rows("SELECT ordinal FROM images ORDER BY ordinal")
    assert [row.ordinal for row in rows] == [1, 2, 3]
    assert crash.kinds() == ["HOLD", "CAPTURE"]


def test_after_a_submit_and_poll_upstream_took_the_request(make_crash: MakeCrash) -> None:
    crash = make_crash(upstream="pixazo", provider="pixazo", upstream_model=MODEL)
    job_id, attempt_id = crash.release()
    crash.die("generate", "generate.sleeping", attempt_id)
    crash.bury()
    assert crash.pipeline.sweep.recover() == 0
    deadline = time.monotonic() + 120
    while crash.pipeline.status(job_id) == "PROCESSING":
        assert time.monotonic() < deadline
        crash.pipeline.execute("UPDATE attempts SET poll_after = clock_timestamp()")
        crash.pipeline.polls.run_once()
        crash.pipeline.answer()
    assert (crash.pipeline.status(job_id), crash.pipeline.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert crash.generated() == [1]
