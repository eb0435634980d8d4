"""The sweeping process dies between finding and mending; nothing it found is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.crash.conftest import Crash


def test_between_finding_overdue_jobs_and_ending_them(crash: Crash) -> None:
    (job_id,) = crash.pipeline.submit(finish_by=datetime.now(UTC) + timedelta(minutes=1))
    crash.pipeline.execute("UPDATE jobs SET finish_by = clock_timestamp() - interval '1 s'")
    crash.die("sweep", "sweep.selected")
    assert crash.pipeline.status(job_id) == "QUEUED"
    assert crash.pipeline.sweep.run_once() == 1
    assert (crash.pipeline.status(job_id), crash.kinds()) == ("ERROR", ["HOLD", "VOID"])
    assert crash.pipeline.sweep.run_once() == 0


def test_between_putting_doorbells_off_and_ringing_them(crash: Crash) -> None:
    job_id, _ = crash.release()
    crash.pipeline.execute("UPDATE attempts SET release_deadline = clock_timestamp() - interval '1 s'")
    crash.die("sweep", "sweep.ringing")
    assert crash.pipeline.sweep.ring_again() == 1, "what was not rung was not put off"
    crash.pipeline.answer()
    crash.recover()
    assert (crash.pipeline.status(job_id), crash.generated()) == ("COMPLETED", [1])


def test_between_finding_orphans_and_settling_them(crash: Crash) -> None:
    job_id, attempt_id = crash.release()
    crash.die("generate", "generate.before_settle", attempt_id)
    crash.pipeline.execute("UPDATE attempts SET process_id = gen_random_uuid()")
    crash.die("sweep", "sweep.found_orphans")
    assert crash.pipeline.states(job_id) == ["CALLING"]
    crash.recover()
    assert (crash.pipeline.status(job_id), crash.generated()) == ("COMPLETED", [1])
    assert crash.kinds() == ["HOLD", "CAPTURE"]
