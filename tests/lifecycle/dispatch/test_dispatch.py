"""The quota from grant to upstream: never exceeded, whatever dies, stops or is lost on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.jobs import Lane
from imagequeue.store.attempts import calls
from imagequeue.store.attempts.calls import Doorbell
from tests import builders, fleet
from tests.builders import account
from tests.eventually import eventually
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long
ONE = {"east": {"rpm": 2, "window_seconds": 2, "guard_ms": 1500, "pace": False}}
WORKER = Path(__file__).with_name("lone_worker.py")


@pytest.fixture
def single(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """One deployment with two calls in two seconds, no pacing."""
    with fleet.pipeline(engine, database_url, tmp_path, ONE) as made:
        yield made


@contextmanager
def lone_worker(of: Pipeline, failpoint: str = "") -> Generator[subprocess.Popen[str]]:
    """A worker process that answers the attempt ids on its standard input, without Celery."""
    settings = of.runtime.settings
    environment = os.environ | {
        "TEST_KEY": fleet.KEY,
        "IMAGEQUEUE_DATABASE_URL": settings.database_url.get_secret_value(),
        "IMAGEQUEUE_SECRET_KEY": builders.SECRET_KEY,
        "IMAGEQUEUE_STORAGE_URL": settings.storage_url,
        "IMAGEQUEUE_SPILL_DIR": str(of.directory / "spill"),
        "IMAGEQUEUE_EGRESS_ALLOW": settings.egress_allow,
        "IMAGEQUEUE_FAILPOINT": failpoint,
        "PYTHONPATH": str(fleet.ROOT),
    }
    command = [sys.executable, str(WORKER), of.simulator.url, json.dumps(ONE["east"]), str(of.directory)]
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.wait()
        with suppress(BrokenPipeError):  # what it was not told any more
            child.stdin.close()
        child.stdout.close()


def ring(child: subprocess.Popen[str], doorbell: Doorbell) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it was killed
        child.stdin.write(f"{doorbell.attempt_id}\n")
        child.stdin.flush()


def finish(of: Pipeline, count: int) -> None:
    """Dispatch and answer until so many jobs are completed."""

    def are_completed() -> bool:
        rescue(of)
        of.dispatch.run_once()
        of.answer()
        return len(of.rows("SELECT 1 FROM jobs WHERE status = 'COMPLETED'")) >= count

    attempts = "SELECT job_id, state, reason FROM attempts ORDER BY id"
    eventually(are_completed, fleet.PATIENCE, otherwise=lambda: of.rows(attempts))


def rescue(of: Pipeline) -> None:
    """What a dead process left: its last transaction may commit after its death."""
    with of.runtime.engine.connect() as connection:
        orphans = calls.orphaned(connection)
    for orphan in orphans:
        of.rescue.rescue(orphan)


def test_a_pass_knows_whether_jobs_wait_for_their_starts(single: Pipeline) -> None:
    single.dispatch.run_once()
    assert not single.dispatch.may_wait
    single.submit(4)
    assert single.dispatch.run_once() == 2
    assert single.dispatch.may_wait


@pytest.mark.parametrize(
    "point", ["generate.before_start", "generate.started", "generate.sent", "generate.before_settle"]
)
def test_a_worker_killed_around_the_sending_costs_no_429(single: Pipeline, point: str) -> None:
    jobs = single.submit(5)
    with lone_worker(single, f"{point}:kill") as child:

        def has_died() -> bool:
            if not single.rows("SELECT 1 FROM attempts WHERE state <> 'GIVEN_BACK'"):
                single.dispatch.run_once()  # on a busy machine the starts before may have been missed
            for doorbell in single.rung:
                ring(child, doorbell)
            single.rung.clear()
            return child.poll() is not None

        states = "SELECT state, reason FROM attempts"
        eventually(has_died, fleet.PATIENCE, otherwise=lambda: single.rows(states))
        assert child.returncode == -signal.SIGKILL
    single.execute("DELETE FROM processes WHERE id <> :id", id=single.process_id)  # its death was noticed
    single.execute("UPDATE attempts SET release_deadline = clock_timestamp() WHERE state = 'RELEASED'")
    single.sweep.run_once()
    finish(single, len(jobs))
    fleet.assert_never_exceeded(single.simulator.url)
    calls = fleet.quotas(single.simulator.url)["east"]["admitted"]
    assert len(jobs) <= calls <= len(jobs) + 2


def test_a_dispatcher_killed_between_grant_and_ringing_costs_no_429(single: Pipeline) -> None:
    jobs = single.submit(4)
    assert single.dispatch.run_once() == 2
    single.rung.clear()  # it died before it could ring
    assert single.dispatch.run_once() == 0
    single.execute("UPDATE attempts SET release_deadline = clock_timestamp()")
    assert single.sweep.run_once() == 2
    single.answer()
    finish(single, len(jobs))
    fleet.assert_never_exceeded(single.simulator.url)
    assert fleet.quotas(single.simulator.url)["east"]["admitted"] == len(jobs)


def test_a_process_that_is_stopped_longer_than_the_lease_gives_the_attempt_back(single: Pipeline) -> None:
    jobs = single.submit(3)
    with lone_worker(single) as child:
        while (doorbell := _stopped_before_its_start(single, child)) is None:
            os.kill(child.pid, signal.SIGCONT)  # a busy machine stopped it too late: once more
            jobs += single.submit(1)
            single.answer()
        single.execute("UPDATE quota_groups SET blocked_until = NULL")

        def token_has_returned() -> bool:
            single.dispatch.run_once()
            single.answer()
            query = "SELECT 1 FROM attempts WHERE id = :id AND token_returns_at < clock_timestamp()"
            return bool(single.rows(query, id=doorbell.attempt_id))

        eventually(token_has_returned)
        os.kill(child.pid, signal.SIGCONT)
        _await_state(single, doorbell.attempt_id, "GIVEN_BACK")
    finish(single, len(jobs))
    fleet.assert_never_exceeded(single.simulator.url)
    assert fleet.quotas(single.simulator.url)["east"]["admitted"] == len(jobs)


def _stopped_before_its_start(of: Pipeline, child: subprocess.Popen[str]) -> Doorbell | None:
    """Let the child wait for its start, its connection open, and stop it there; None: it had started."""
    port = of.simulator.port
    of.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() + interval '0.95 seconds'")
    while not of.dispatch.run_once():
        assert child.poll() is None  # what it does still has its place
    doorbell, *others = of.rung
    of.rung[:] = others
    ring(child, doorbell)
    process = psutil.Process(child.pid)
    while not any(one.raddr and one.raddr.port == port for one in process.net_connections("tcp")):
        assert child.poll() is None
    os.kill(child.pid, signal.SIGSTOP)
    (row,) = of.rows("SELECT state FROM attempts WHERE id = :id", id=doorbell.attempt_id)
    return doorbell if row.state == "RELEASED" else None


def _await_state(of: Pipeline, attempt_id: UUID, state: str) -> None:
    query = "SELECT state FROM attempts WHERE id = :id"
    eventually(lambda: of.rows(query, id=attempt_id)[0].state == state)


def test_a_slow_reading_never_makes_a_call_early(single: Pipeline) -> None:
    """The start window opens by the reading's end: what the database said may be as old as its beginning."""
    single.execute("UPDATE quota_groups SET blocked_until = clock_timestamp() + interval '0.9 seconds'")
    single.submit(1)
    assert single.dispatch.run_once() == 1
    (doorbell,) = single.rung
    holding, locked = threading.Event(), threading.Event()

    def hold() -> None:
        with single.runtime.engine.begin() as connection:
            connection.execute(text("LOCK TABLE job_requests IN ACCESS EXCLUSIVE MODE"))
            locked.set()
            holding.wait(0.6)

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    single.generation.run(doorbell.attempt_id)
    thread.join()
    (row,) = single.rows("SELECT called_at >= slot_at AS in_time FROM attempts")
    assert row.in_time


def test_a_start_that_the_database_holds_up_is_not_made_late(single: Pipeline) -> None:
    single.submit(1)
    assert single.dispatch.run_once() == 1
    (doorbell,) = single.rung
    with single.runtime.engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM attempts FOR UPDATE"))
        thread = threading.Thread(target=single.generation.run, args=(doorbell.attempt_id,))
        thread.start()
        connection.execute(
            text("SELECT pg_sleep_until(slot_at + interval '2.1 seconds') FROM attempts")
        ).all()
    thread.join()
    assert single.calls() == []


def test_one_interactive_job_among_a_backfill_gets_the_next_grant(single: Pipeline) -> None:
    single.submit(50, lane=Lane.BACKFILL)
    assert single.dispatch.run_once() == 2
    single.answer()
    (urgent,) = single.submit(1)
    finish(single, 3)
    lanes = [row.lane for row in single.rows("SELECT lane FROM attempts ORDER BY id")]
    assert lanes[2] == "interactive"
    assert single.status(urgent) == "COMPLETED"


def test_equal_accounts_get_equal_shares_of_a_model_that_five_small_quotas_serve(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {f"upstream-{number}": {"rpm": 12, "pace": False} for number in range(5)}
    with fleet.pipeline(engine, database_url, tmp_path, given) as small:
        for number in range(20):
            small.account_id, _ = account(engine, f"account {number}", "1000")
            small.submit(6)
        while small.dispatch.run_once():
            pass
        shares = small.rows("""
            SELECT count(*)::int AS calls FROM attempts JOIN jobs ON jobs.id = job_id GROUP BY account_id
        """)
        assert [row.calls for row in shares] == [3] * 20
