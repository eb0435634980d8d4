"""Input images that are URLs: fetched before the job may be claimed, so that they cost no token."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from imagequeue.domain.backoff import INPUT_FETCH
from imagequeue.domain.jobs import JobStatus, Lane
from imagequeue.lifecycle.generate.fetch_inputs import Fetches
from imagequeue.media.inputs import MOST_INPUT_BYTES
from imagequeue.store.money.ledger import read_wallets
from tests import builders
from tests.lifecycle.generate.refusing import breaking_commit
from tests.media.pictures import bomb, encoded
from tests.origin import Origin
from tests.pipeline import Pipeline

DUE = "UPDATE jobs SET not_before = clock_timestamp() WHERE status = 'QUEUED' AND not_before IS NOT NULL"


def edit(pipeline: Pipeline, url: str, **more: Any) -> UUID:
    (job_id,) = pipeline.submit(operation="edit", input_images=(url,), **more)
    return job_id


def error_of(pipeline: Pipeline, job_id: UUID) -> str:
    return pipeline.rows("SELECT error FROM job_results WHERE job_id = :id", id=job_id)[0].error


def test_a_slow_url_delays_nobody_and_holds_no_token(editing: Pipeline, origin: Origin) -> None:
    slow = edit(editing, f"{origin.url}/held.png")
    woken = Event()
    fetches = Fetches(replace(editing.fetching, wake=woken.set), list(Lane), lambda: 64)
    assert fetches.run_once() == 1
    assert origin.reached.wait(120)
    others = editing.submit(3)
    assert editing.dispatch.run_once() == 3
    assert editing.answer() == 3
    assert [editing.status(job_id) for job_id in others] == ["COMPLETED"] * 3
    assert (editing.status(slow), editing.states(slow)) == ("QUEUED", [])
    assert editing.dispatch.run_once() == 0
    origin.held.set()
    assert woken.wait(120)
    fetches._pool.shutdown()  # pyright: ignore[reportPrivateUsage]  # its threads hold connections of the test
    assert editing.dispatch.run_once() == 1
    assert editing.answer() == 1
    assert (editing.status(slow), editing.states(slow)) == ("COMPLETED", ["SUCCEEDED"])


def test_what_fails_for_a_while_is_tried_again(editing: Pipeline, origin: Origin) -> None:
    origin.statuses.extend([503, 503])
    job_id = edit(editing, f"{origin.url}/image.png")
    for tries in (1, 2):
        assert editing.fetch() == 1
        (row,) = editing.rows("SELECT status, failures, not_before > clock_timestamp() AS waits FROM jobs")
        assert row == ("QUEUED", tries, True)
        editing.execute(DUE)
    editing.run()
    assert (editing.status(job_id), editing.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])
    assert editing.rows("SELECT failures, deaths, not_before FROM jobs") == [(0, 0, None)]


def test_an_input_image_that_its_server_compresses_unasked_is_unpacked(
    editing: Pipeline, origin: Origin
) -> None:
    origin.bodies["/image.png"] = gzip.compress(origin.bodies["/image.png"])
    origin.headers["Content-Encoding"] = "gzip"
    job_id = edit(editing, f"{origin.url}/image.png")
    editing.run()
    assert (editing.status(job_id), editing.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])


def test_an_input_image_that_cannot_be_unpacked_is_tried_again(editing: Pipeline, origin: Origin) -> None:
    whole = gzip.compress(origin.bodies["/image.png"])
    origin.bodies["/image.png"] = whole[:20] + bytes(100) + whole[120:]
    origin.headers["Content-Encoding"] = "gzip"
    job_id = edit(editing, f"{origin.url}/image.png")
    assert editing.fetch() == 1
    assert editing.rows("SELECT status, failures FROM jobs") == [("QUEUED", 1)]
    origin.bodies["/image.png"] = whole
    editing.execute(DUE)
    editing.run()
    assert editing.status(job_id) == "COMPLETED"


def test_what_fails_again_and_again_fails_the_job(editing: Pipeline, origin: Origin) -> None:
    origin.statuses.extend([503] * INPUT_FETCH.tries)
    job_id = edit(editing, f"{origin.url}/image.png")
    while editing.fetch():
        editing.execute(DUE)
    assert origin.requests["/image.png"] == INPUT_FETCH.tries
    assert_refused(editing, job_id, "image_1: fetching it was answered with status 503 (5 tries)")


def assert_refused(pipeline: Pipeline, job_id: UUID, reason: str) -> None:
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("FAILED", [])
    assert reason in error_of(pipeline, job_id)
    with pipeline.runtime.engine.connect() as connection:
        wallet = read_wallets(connection, [pipeline.account_id])[pipeline.account_id]
    assert (wallet.held, wallet.spent) == (Decimal(0), Decimal(0))
    assert pipeline.calls() == []


REFUSED = {
    "not an image": (b"<html>", 200, "it cannot be decoded"),
    "a bomb": (bomb(), 200, "50 megapixels"),
    "above 50 megapixels": (encoded(Image.new("1", (7_100, 7_100)), "png"), 200, "50 megapixels"),
    "above 20 MiB": (bytes(MOST_INPUT_BYTES + 1), 200, "too_large"),
    "not there": (b"gone", 404, "status 404"),
    "a redirect": (b"over there", 302, "image_1: the URL redirects to one that is refused"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_repetition_cures_fails_the_job_at_once(editing: Pipeline, origin: Origin, what: str) -> None:
    body, status, reason = REFUSED[what]
    origin.bodies["/given"] = body
    origin.statuses.append(status)
    if status == 302:
        origin.headers["location"] = "http://169.254.169.254/latest/meta-data/"
    job_id = edit(editing, f"{origin.url}/given")
    editing.run()
    assert_refused(editing, job_id, reason)
    assert origin.requests.total() == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_input_image_may_be_redirected(editing: Pipeline, origin: Origin, status: int) -> None:
    origin.statuses.append(status)
    origin.headers["location"] = f"{origin.url}/image.png"
    job_id = edit(editing, f"{origin.url}/short")
    editing.run()
    assert (editing.status(job_id), editing.states(job_id)) == ("COMPLETED", ["SUCCEEDED"])


def test_a_name_that_leads_to_a_private_address_fails_the_job(pipeline: Pipeline) -> None:
    job_id = edit(pipeline, "http://10.0.0.1/image.png")
    pipeline.run()
    assert (pipeline.status(job_id), pipeline.states(job_id)) == ("FAILED", [])


def test_nobody_listening_is_tried_again(editing: Pipeline, origin: Origin) -> None:
    job_id = edit(editing, f"{origin.url}/image.png")
    origin.__exit__(None, None, None)
    assert editing.fetch() == 1
    assert editing.rows("SELECT status, failures FROM jobs WHERE id = :id", id=job_id) == [("QUEUED", 1)]


def test_a_url_for_a_model_that_does_not_edit_is_refused_at_submit(pipeline: Pipeline) -> None:
    asked: dict[str, Any] = {"operation": "edit", "input_images": ("https://example.com/image.png",)}
    assert pipeline.submit(model_id="microsoft-mai-image-2", **asked) == []
    assert len(pipeline.submit(**asked)) == 1


def test_a_job_that_is_cancelled_while_it_is_fetched_stays_so(editing: Pipeline, origin: Origin) -> None:
    job_id = edit(editing, f"{origin.url}/held.png")
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(editing.fetch)
        assert origin.reached.wait(120)
        assert editing.settlement.end([job_id], JobStatus.FAILED, "Cancelled") == [job_id]
        origin.held.set()
        assert fetched.result(120) == 1
    editing.run()
    assert_refused(editing, job_id, "Cancelled")


def test_a_deadline_ends_a_job_that_waits_for_its_inputs(editing: Pipeline, origin: Origin) -> None:
    job_id = edit(editing, f"{origin.url}/image.png")
    editing.execute("UPDATE jobs SET start_by = clock_timestamp() - interval '1 s'")
    assert editing.sweep.end_overdue() == 1
    editing.run()
    assert (editing.status(job_id), origin.requests.total()) == ("ERROR", 0)


def test_a_try_that_comes_after_its_lease_refuses_nothing(editing: Pipeline, origin: Origin) -> None:
    job_id = edit(editing, f"{origin.url}/page")
    late = editing.fetching.claim(Lane)
    assert late is not None
    assert editing.fetching.claim(Lane) is None
    editing.execute(DUE)
    assert editing.fetching.claim(Lane) is not None
    editing.fetching.run(late)
    assert editing.status(job_id) == "QUEUED"


def test_a_job_whose_inputs_killed_three_processes_is_ended(editing: Pipeline, origin: Origin) -> None:
    job_id = edit(editing, f"{origin.url}/image.png")
    for _ in range(3):
        assert editing.fetching.claim(Lane) is not None
        editing.execute(DUE)
    editing.fetch()
    assert (editing.status(job_id), origin.requests.total()) == ("ERROR", 0)


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize(
    ("path", "recorded_by", "status"),
    [
        ("/image.png", "not_before = NULL, failures = 0", "QUEUED"),
        ("/page", "SET status = ", "FAILED"),
        ("/late.png", "failures = failures +", "QUEUED"),
    ],
    ids=["fetched", "refused", "put off"],
)
def test_a_result_that_the_database_does_not_take_at_once_is_no_death(
    editing: Pipeline, origin: Origin, path: str, recorded_by: str, status: str, *, after: bool
) -> None:
    origin.statuses.extend([503] if path == "/late.png" else [])
    job_id = edit(editing, f"{origin.url}{path}")
    job = editing.fetching.claim(Lane)
    assert job is not None
    with breaking_commit(editing.runtime.engine, recorded_by, after=after, times=3) as broken:
        editing.fetching.run(job)
    assert len(broken) == 3 or after
    assert (editing.status(job_id), origin.requests.total()) == (status, 1)
    assert editing.rows("SELECT deaths FROM jobs WHERE status = 'QUEUED'") in ([], [(0,)])


def test_a_fetch_that_breaks_by_a_fault_of_ours_is_no_death_and_ends_as_an_error(editing: Pipeline) -> None:
    job_id = edit(editing, "http://127.0.0.1:1/image.png")
    editing.execute('UPDATE job_requests SET parameters = \'{"operation": "edit"}\'')
    for tries in range(1, INPUT_FETCH.tries):
        assert editing.fetch() == 1
        assert editing.rows("SELECT failures, deaths FROM jobs") == [(tries, 0)]
        editing.execute(DUE)
    editing.fetch()
    assert (editing.status(job_id), editing.calls()) == ("ERROR", [])
    assert "a fault of the queue itself" in error_of(editing, job_id)


def test_a_fault_of_ours_after_a_fetch_leaves_its_place_to_the_next(
    editing: Pipeline, origin: Origin
) -> None:
    def broken() -> None:
        raise RuntimeError("a fault of ours")

    fetches = Fetches(replace(editing.fetching, wake=broken), list(Lane), lambda: 64, places=2)
    for _ in range(2):
        edit(editing, f"{origin.url}/image.png")
    fetches.run_once()
    fetches._pool.shutdown()  # pyright: ignore[reportPrivateUsage]  # when all of its work is done
    assert origin.requests.total() == 2, "an account has half of the places: one"


def test_while_the_storage_is_away_the_job_waits(editing: Pipeline, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file where the directory should be")
    edit(editing, f"{origin.url}/image.png")
    assert editing.fetch() == 1
    assert editing.rows("SELECT status, failures, deaths FROM jobs") == [("QUEUED", 0, 0)]


def test_a_worker_fetches_for_its_lanes_and_within_its_places(editing: Pipeline, origin: Origin) -> None:
    edit(editing, f"{origin.url}/image.png", lane=Lane.BACKFILL)
    fetches = Fetches(editing.fetching, [Lane.INTERACTIVE], lambda: 64, places=4)
    assert fetches.run_once() == 0
    for _ in range(3):
        edit(editing, f"{origin.url}/held.png")
    assert fetches.run_once() == 2, "one account gets half of the places"
    (other, _) = builders.account(editing.runtime.engine, "other", funds="10")
    editing.account_id = other
    edit(editing, f"{origin.url}/held.png")
    assert fetches.run_once() == 1
    origin.held.set()
    fetches._pool.shutdown()  # pyright: ignore[reportPrivateUsage]  # its threads hold connections of the test


def test_of_few_free_slots_one_account_gets_half(editing: Pipeline, origin: Origin) -> None:
    fetches = Fetches(editing.fetching, list(Lane), lambda: 2)
    for _ in range(3):
        edit(editing, f"{origin.url}/held.png")
    assert fetches.run_once() == 1
    editing.account_id, _ = builders.account(editing.runtime.engine, "other", funds="10")
    edit(editing, f"{origin.url}/held.png")
    assert fetches.run_once() == 1
    origin.held.set()
    fetches._pool.shutdown()  # pyright: ignore[reportPrivateUsage]  # its threads hold connections of the test


def test_a_process_without_slots_fetches_nothing(editing: Pipeline, origin: Origin) -> None:
    edit(editing, f"{origin.url}/image.png")
    assert Fetches(editing.fetching, list(Lane), lambda: 0).run_once() == 0
    assert origin.requests.total() == 0
