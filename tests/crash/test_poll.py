"""A submit-and-poll upstream took the request and the worker dies: it never sees a second submit.

Before the answer is stored only the upstream knows that it took it. Where it may call back, it says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from tests.api.service import serving
from tests.builders import MODEL, catalog
from tests.crash.conftest import Crash, MakeCrash
from tests.eventually import eventually

IMAGES = 3
SECONDS = 120
PIXAZO: dict[str, Any] = {"provider": "pixazo", "upstream_model": MODEL, "callbacks": True}


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


@pytest.fixture
def api(engine: Engine, database_url: str) -> Iterator[str]:
    """The URL of an API that the upstream can reach."""
    with serving(engine, database_url, of=catalog(**PIXAZO)) as service:
        yield service.url


@pytest.mark.parametrize("point", ["generate.sent", "generate.answered", "generate.before_settle"])
@pytest.mark.parametrize("first", ["callback", "rescue"])
def test_before_the_reference_is_stored(make_crash: MakeCrash, api: str, point: str, first: str) -> None:
    pixazo = make_crash(upstream="pixazo", public_url=api, **PIXAZO)
    job_id, attempt_id = pixazo.release(image_count=IMAGES)
    pixazo.die("generate", point, attempt_id)
    if first == "callback":
        _await_reference(pixazo)
    pixazo.bury()
    assert pixazo.pipeline.sweep.recover() == 1
    assert pixazo.pipeline.states(job_id) == ["SLEEPING"]
    _await_reference(pixazo)
    _finish(pixazo, job_id)
    assert pixazo.pipeline.states(job_id) == ["SUCCEEDED"]
    assert pixazo.generated() == [IMAGES]
    assert pixazo.kinds() == ["HOLD", "CAPTURE"]
    assert pixazo.pipeline.rows("SELECT failures, deaths FROM jobs") == [(0, 0)]


@pytest.mark.parametrize(("point", "submits"), [("generate.started", 1), ("generate.answered", 2)])
def test_when_no_callback_comes_it_is_unknown_at_the_deadline(
    make_crash: MakeCrash, point: str, submits: int
) -> None:
    """The upstream cannot reach us, or has taken nothing: nobody can tell the one from the other."""
    pixazo = make_crash(upstream="pixazo", **PIXAZO)
    job_id, attempt_id = pixazo.release(image_count=IMAGES)
    pixazo.die("generate", point, attempt_id)
    pixazo.bury()
    assert pixazo.pipeline.sweep.recover() == 1
    pixazo.pipeline.poll()
    assert pixazo.pipeline.states(job_id) == ["SLEEPING"]
    pixazo.pipeline.execute("UPDATE attempts SET call_deadline = clock_timestamp() - interval '1 s'")
    pixazo.pipeline.poll()
    assert pixazo.pipeline.states(job_id) == ["UNKNOWN"]
    assert pixazo.pipeline.rows("SELECT deaths, wanted FROM jobs") == [(1, IMAGES)]
    pixazo.recover()
    _finish(pixazo, job_id)
    assert pixazo.pipeline.states(job_id) == ["UNKNOWN", "SUCCEEDED"]
    assert pixazo.generated() == [IMAGES] * submits
    assert pixazo.kinds() == ["HOLD", "CAPTURE"]


def _await_reference(crash: Crash) -> None:
    eventually(lambda: crash.pipeline.rows("SELECT 1 FROM attempts WHERE upstream_reference IS NOT NULL"))


def _submitted(crash: Crash) -> UUID:
    """A job that the upstream took, and that sleeps until it is asked for."""
    (job_id,) = crash.pipeline.submit(image_count=IMAGES)
    crash.pipeline.dispatch.run_once()
    crash.pipeline.answer()
    assert crash.pipeline.states(job_id) == ["SLEEPING"]
    return job_id


def _make_due(crash: Crash) -> None:
    """The next poll is due, and the lease of a process that died while it polled is over."""
    due = "UPDATE attempts SET poll_after = clock_timestamp(), poll_leased_until = NULL"
    crash.pipeline.execute(f"{due} WHERE state = 'SLEEPING'")


def _finish(crash: Crash, job_id: UUID) -> None:
    deadline = time.monotonic() + SECONDS
    while crash.pipeline.status(job_id) == "PROCESSING":
        assert time.monotonic() < deadline
        crash.pipeline.poll()
    assert crash.pipeline.status(job_id) == "COMPLETED"
