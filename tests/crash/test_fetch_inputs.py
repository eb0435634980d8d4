"""The worker dies while it fetches the input images of a job: fetched again, and one call made."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.crash.conftest import Crash, MakeCrash
from tests.origin import Origin


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as served:
        yield served


@pytest.fixture
def crash(make_crash: MakeCrash, origin: Origin) -> Crash:
    return make_crash(allow=origin.place)


def assert_fetched_and_called_for_once(crash: Crash, origin: Origin, path: str, fetched: int) -> None:
    pipeline = crash.pipeline
    rows = pipeline.rows("SELECT status, not_before > clock_timestamp() AS leased, deaths FROM jobs")
    assert rows == [("QUEUED", True, 1)]
    assert (pipeline.rows("SELECT 1 FROM attempts"), pipeline.fetch()) == ([], 0)
    pipeline.execute("UPDATE jobs SET not_before = clock_timestamp()")  # the lease is over
    crash.recover()
    (job,) = pipeline.rows("SELECT id, status, deaths FROM jobs")
    assert (job.status, job.deaths, pipeline.states(job.id)) == ("COMPLETED", 0, ["SUCCEEDED"])
    assert (origin.requests[path], len(pipeline.calls())) == (fetched, 1)
    assert crash.kinds() == ["HOLD", "CAPTURE"]


@pytest.mark.parametrize(("point", "fetched"), [("fetch.fetched", 2), ("fetch.before_move", 1)])
def test_the_job_is_fetched_again_unless_its_inputs_are_stored(
    crash: Crash, origin: Origin, point: str, fetched: int
) -> None:
    crash.pipeline.submit(operation="edit", input_images=(f"{origin.url}/image.png",))
    crash.die("fetch", point)
    assert_fetched_and_called_for_once(crash, origin, "/image.png", fetched)


def test_in_the_middle_of_a_fetch(crash: Crash, origin: Origin) -> None:
    crash.pipeline.submit(operation="edit", input_images=(f"{origin.url}/held.png",))
    pid = crash.start("fetch")
    assert origin.reached.wait(120)
    os.kill(pid, signal.SIGKILL)
    assert crash.mother.end() == -signal.SIGKILL
    origin.held.set()
    assert_fetched_and_called_for_once(crash, origin, "/held.png", 2)
