"""A submit-and-poll upstream took the request and the worker dies: it never sees a second submit."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from tests.builders import MODEL
from tests.crash.conftest import Crash, MakeCrash

IMAGES = 3
SECONDS = 30


@pytest.fixture
def pixazo(make_crash: MakeCrash) -> Crash:
    """One Pixazo deployment."""
    return make_crash(upstream="pixazo", provider="pixazo", upstream_model=MODEL)


@pytest.mark.parametrize(
    "point",
    ["generate.stored_1", "generate.before_settle", "settle.before_commit"],
)
def test_while_it_fetches_the_result(pixazo: Crash, point: str) -> None:
    job_id = _submitted(pixazo)
    _make_due(pixazo)
    pixazo.die("poll", point)
    pixazo.bury()
    assert pixazo.pipeline.sweep.recover() == 0
    _finish(pixazo, job_id)
    assert pixazo.pipeline.states(job_id) == ["SUCCEEDED"]
    assert pixazo.generated() == [IMAGES]
    assert pixazo.kinds() == ["HOLD", "CAPTURE"]
    ordinals = pixazo.pipeline.rows("SELECT ordinal FROM images ORDER BY ordinal")
    assert [row.ordinal for row in ordinals] == list(range(1, IMAGES + 1))


def test_three_deaths_while_polling_are_no_deaths_while_calling(pixazo: Crash) -> None:
    """Asking again costs nothing, so it does not count towards giving the job up."""
    job_id = _submitted(pixazo)
    for _ in range(3):
        _make_due(pixazo)
        pixazo.die("poll", "generate.before_settle")
    pixazo.bury()
    pixazo.pipeline.sweep.recover()
    _finish(pixazo, job_id)
    assert pixazo.generated() == [IMAGES]


def _submitted(crash: Crash) -> UUID:
    """A job that the upstream took, and that sleeps until it is asked for."""
    (job_id,) = crash.pipeline.submit(image_count=IMAGES)
    crash.pipeline.dispatch.run_once()
    crash.pipeline.answer()
    assert crash.pipeline.states(job_id) == ["SLEEPING"]
    return job_id


def _make_due(crash: Crash) -> None:
    crash.pipeline.execute("UPDATE attempts SET poll_after = clock_timestamp() WHERE state = 'SLEEPING'")


def _finish(crash: Crash, job_id: UUID) -> None:
    deadline = time.monotonic() + SECONDS
    while crash.pipeline.status(job_id) == "PROCESSING":
        assert time.monotonic() < deadline
        crash.pipeline.poll()
    assert crash.pipeline.status(job_id) == "COMPLETED"
