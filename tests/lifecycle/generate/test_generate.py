"""Whatever an upstream answers, or the database does, costs one attempt: one call at most, and no job."""

from __future__ import annotations

import gc
import io
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import Engine, create_engine
from structlog.testing import capture_logs

from imagequeue.domain.upstream import Ambiguous, Pending, Unavailable
from imagequeue.domain.verdicts import AttemptOutcome, ProcessDied, Succeeded
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.store.attempts import calls
from imagequeue.store.money.ledger import Wallet, read_wallets
from tests.lifecycle.generate.refusing import breaking_commit
from tests.lifecycle.steps import calling, end_back_off
from tests.pipeline import Pipeline, RunningPipeline
from tests.upstreams import catalog_of, upstreams

pytestmark = pytest.mark.long
PRIVATE = "http://169.254.169.254/latest/meta-data/"
AWAY = {"location": PRIVATE}
DOWNLOADS = {"match": {"operation": "download"}, "count": None}
SHORT_SECONDS, AMPLE_SECONDS = 0.7, 30.0
"""The deadline of calls that are to meet it, and of those that have all the time of a busy machine."""
DEADLINES = pytest.mark.parametrize(("seconds", "met"), [(SHORT_SECONDS, True), (AMPLE_SECONDS, False)])
AT_THE_CALL: dict[str, tuple[dict[str, Any], str]] = {
    "hangs": ({"kind": "hang"}, "UNKNOWN"),
    "hangs before the body is read": ({"kind": "hang", "stage": "before_body"}, "UNKNOWN"),
    "hangs in the middle": ({"kind": "hang", "stage": "mid_response"}, "UNKNOWN"),
    "drips": ({"kind": "drip", "bytes_per_second": 500}, "UNKNOWN"),
    "resets": ({"kind": "reset"}, "UNKNOWN"),
    "resets in the middle": ({"kind": "reset", "stage": "mid_response"}, "UNKNOWN"),
    "sends 100 MB": ({"kind": "oversized"}, "UNAVAILABLE"),
    "sends a bomb": ({"kind": "bomb"}, "UNAVAILABLE"),
    "redirects to a private address": ({"kind": "redirect", **AWAY}, "UNAVAILABLE"),
    "sends HTML": ({"kind": "html"}, "UNAVAILABLE"),
    "truncates its JSON": ({"kind": "truncated_json"}, "UNAVAILABLE"),
    "truncates its base64": ({"kind": "truncated_base64"}, "UNAVAILABLE"),
    "sends text": ({"kind": "not_an_image"}, "UNAVAILABLE"),
    "sends no image": ({"kind": "no_data"}, "UNAVAILABLE"),
    "answers 500": ({"kind": "status", "status": 500}, "UNAVAILABLE"),
    "answers 504": ({"kind": "status", "status": 504}, "UNKNOWN"),
    "has a wrong key": ({"kind": "status", "status": 401}, "MISCONFIGURED"),
    "is throttled for a day": (
        {"kind": "status", "status": 429, "headers": {"Retry-After": "86400"}},
        "THROTTLED",
    ),
}
BEHIND_A_LINK: dict[str, tuple[dict[str, Any], str]] = {
    "hangs": ({"kind": "hang", **DOWNLOADS}, "UNKNOWN"),
    "drips": ({"kind": "drip", "bytes_per_second": 500, **DOWNLOADS}, "UNKNOWN"),
    "resets": ({"kind": "reset", **DOWNLOADS}, "UNKNOWN"),
    "answers 404": ({"kind": "status", "status": 404, **DOWNLOADS}, "UNKNOWN"),
    "redirects to a private address": ({"kind": "redirect", **DOWNLOADS, **AWAY}, "UNAVAILABLE"),
    "sends 100 MB": ({"kind": "oversized"}, "UNAVAILABLE"),
    "sends a bomb": ({"kind": "bomb"}, "UNAVAILABLE"),
    "sends half a file": ({"kind": "truncated_base64"}, "UNAVAILABLE"),
    "names a private address": (
        {"kind": "status", "status": 200, "body": {"data": [{"url": PRIVATE}]}},
        "UNAVAILABLE",
    ),
    "names a file": (
        {"kind": "status", "status": 200, "body": {"data": [{"url": "file:///etc/passwd"}]}},
        "UNAVAILABLE",
    ),
}


@pytest.fixture
def hostile(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Any]:
    """Makes a pipeline whose cheapest deployment is the hostile one; `east` serves what it does not."""
    running = list[RunningPipeline]()

    def start(name: str, *others: str, seconds: float = AMPLE_SECONDS) -> Pipeline:
        own = {"cost_usd": "0.001", "timeout_seconds": seconds}
        given = catalog_of(name, *others, changes={name: own}, timeout_seconds=AMPLE_SECONDS)
        context = RunningPipeline(engine, database_url, tmp_path, upstreams=upstreams(), catalog=given)
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


@DEADLINES
def test_what_an_upstream_does_to_a_call_costs_that_attempt(
    hostile: Any, seconds: float, *, met: bool
) -> None:
    pipeline: Pipeline = hostile("west", "east", seconds=seconds)
    for what, (fault, state) in _chosen(AT_THE_CALL, met=met):
        assert_served_elsewhere(pipeline, "west", what, {"match": {"upstream": "west"}} | fault, state)


@DEADLINES
def test_what_is_behind_a_link_costs_that_attempt(hostile: Any, seconds: float, *, met: bool) -> None:
    pipeline: Pipeline = hostile("aiml", "east", seconds=seconds)
    for what, (fault, state) in _chosen(BEHIND_A_LINK, met=met):
        assert_served_elsewhere(pipeline, "aiml", what, fault, state)


def test_a_job_that_ends_with_an_error_upstream_is_served_elsewhere(hostile: Any) -> None:
    pipeline: Pipeline = hostile("pixazo", "east")
    pipeline.fault(kind="job_error", count=1)
    (job_id,) = pipeline.submit()
    pipeline.run()
    pipeline.poll()
    pipeline.run()
    assert _attempts(pipeline, job_id) == [("pixazo", "UNAVAILABLE"), ("east", "SUCCEEDED")]


def test_fewer_images_than_asked_are_kept_and_the_rest_comes_from_elsewhere(hostile: Any) -> None:
    pipeline: Pipeline = hostile("omixa", "east")
    pipeline.fault(kind="fewer_images", count=1)
    (job_id,) = pipeline.submit(image_count=4)
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"
    served = pipeline.rows("SELECT attempt_id, count(*) AS count FROM images GROUP BY attempt_id")
    assert sorted(row.count for row in served) == [1, 3]


def _chosen(
    faults: dict[str, tuple[dict[str, Any], str]], *, met: bool
) -> list[tuple[str, tuple[dict[str, Any], str]]]:
    """The faults that end with the call's deadline, or those that do not wait for it."""
    return [(what, fault) for what, fault in faults.items() if (fault[1] == "UNKNOWN") is met]


def assert_served_elsewhere(
    pipeline: Pipeline, name: str, what: str, fault: dict[str, Any], state: str
) -> None:
    gc.collect()
    files, spent = _open_files(), _wallet(pipeline).spent
    pipeline.fault(**{"count": 1} | fault)
    (job_id,) = pipeline.submit()
    pipeline.run()
    assert _attempts(pipeline, job_id) == [(name, state), ("east", "SUCCEEDED")], what
    assert pipeline.status(job_id) == "COMPLETED"
    (image,) = pipeline.rows("SELECT * FROM images WHERE job_id = :id", id=job_id)
    with Image.open(io.BytesIO(pipeline.runtime.storage.get(image.storage_key))) as opened:
        opened.load()
        assert opened.size == (1024, 1024)
    wallet = _wallet(pipeline)
    assert (wallet.held, wallet.spent) == (Decimal(0), spent + Decimal("0.05"))
    assert list(pipeline.spill.pending()) == []
    assert _open_files() <= files, what
    _forget(pipeline)


def _wallet(pipeline: Pipeline) -> Wallet:
    with pipeline.runtime.engine.connect() as connection:
        return read_wallets(connection, [pipeline.account_id])[pipeline.account_id]


def _forget(pipeline: Pipeline) -> None:
    """Let the next fault meet an upstream against which nothing is known."""
    pipeline.heal()
    pipeline.execute("DELETE FROM deployment_states")
    pipeline.execute(
        "UPDATE quota_groups SET blocked_until = NULL, throttled_in_a_row = 0, out_of_quota = false"
    )


def _attempts(pipeline: Pipeline, job_id: UUID) -> list[tuple[str, str]]:
    query = "SELECT deployment, state FROM attempts WHERE job_id = :id ORDER BY id"
    return [(row.deployment, row.state) for row in pipeline.rows(query, id=job_id)]


def _open_files() -> int:
    """How many files in the directory for temporary files this process has open, unlinked ones included."""
    directory = tempfile.gettempdir()
    links = (_target(link) for link in Path("/proc/self/fd").iterdir())
    return sum(link.startswith(directory) for link in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def test_a_request_that_breaks_the_worker_ends_after_its_attempts(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.execute('UPDATE job_requests SET parameters = \'{"operation": "generate"}\'')
    for _ in range(6):
        end_back_off(pipeline)
        pipeline.run()
    assert pipeline.status(job_id) == "ERROR"
    assert set(pipeline.states(job_id)) == {"UNAVAILABLE"}
    assert pipeline.calls() == []
    assert pipeline.rows("SELECT count(*) FROM deployment_states") == [(0,)], "the deployment is not to blame"


def test_a_process_that_stops_does_not_wait_for_the_database_for_ever(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    nowhere = create_engine(
        "postgresql+psycopg://nobody@127.0.0.1:1/none", connect_args={"connect_timeout": 1}
    )
    settlement = pipeline.settlement

    class Away(Settlement):
        def settle(
            self,
            attempt_id: UUID,
            outcome: object,
            process_id: UUID | None = None,
            reference: str | None = None,
            *,
            lock_seconds: float | None = None,
        ) -> bool:
            del attempt_id, outcome, process_id, reference, lock_seconds
            pipeline.stopping.set()
            with nowhere.connect():
                return False

    away = Away(nowhere, settlement.catalog, settlement.job_end, settlement.announce)
    recorder = replace(pipeline.generation.recorder, settlement=away, last_tries=0)
    pipeline.generation = replace(pipeline.generation, recorder=recorder)
    pipeline.dispatch.run_once()
    thread = threading.Thread(target=pipeline.answer, daemon=True)
    thread.start()
    thread.join(120)
    assert not thread.is_alive()
    assert pipeline.states(job_id) == ["CALLING"]
    pipeline.execute("DELETE FROM processes")
    assert pipeline.sweep.recover() == 1
    assert pipeline.status(job_id) == "COMPLETED"
    assert len(pipeline.calls()) == 1


def test_a_process_that_was_declared_dead_may_not_start_a_call(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    pipeline.execute("DELETE FROM processes")
    pipeline.answer()
    assert pipeline.states(job_id) == ["GIVEN_BACK"]
    assert pipeline.calls() == []


def test_a_doorbell_that_is_rung_again_makes_no_second_call(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    pipeline.rung *= 3
    pipeline.answer()
    assert (pipeline.status(job_id), len(pipeline.calls())) == ("COMPLETED", 1)


@pytest.mark.parametrize("after", [False, True])
def test_a_start_whose_commit_is_unknown_makes_no_call_and_keeps_its_token(
    pipeline: Pipeline, *, after: bool
) -> None:
    (job_id,) = pipeline.submit()
    pipeline.dispatch.run_once()
    with breaking_commit(pipeline.runtime.engine, "state = 'CALLING'", after=after) as broken:
        pipeline.answer()
    assert broken
    assert (pipeline.states(job_id), pipeline.calls()) == (["GIVEN_BACK"], [])
    out = "SELECT token_returns_at > clock_timestamp() + interval '30 s' FROM attempts"
    assert pipeline.rows(out) == [(True,)], "the call may have been sent, as far as anybody knows"


@pytest.mark.parametrize(
    "outcome", [Succeeded(()), Unavailable("500"), Ambiguous("reset"), ProcessDied("died")]
)
def test_an_outcome_for_an_attempt_that_the_retention_has_deleted_ends_with_a_log_line(
    pipeline: Pipeline, outcome: AttemptOutcome
) -> None:
    _, attempt_id = calling(pipeline)
    with pipeline.runtime.engine.connect() as connection:
        ticket = calls.read_ticket(connection, attempt_id)
    assert ticket is not None
    pipeline.execute("DELETE FROM attempts")
    with capture_logs() as logs:
        pipeline.generation.recorder.record(ticket, outcome)
    assert [line["event"] for line in logs] == ["attempt_gone", "attempt_settled"]


def test_a_poll_of_an_attempt_that_the_retention_has_deleted_changes_nothing(pipeline: Pipeline) -> None:
    _, attempt_id = calling(pipeline)
    with pipeline.runtime.engine.connect() as connection:
        ticket = calls.read_ticket(connection, attempt_id)
    assert ticket is not None
    pipeline.execute("DELETE FROM attempts")
    pipeline.generation.recorder.record(ticket, Pending("a reference"))
    assert pipeline.rows("SELECT count(*) FROM attempts") == [(0,)]
