"""The real worker, as a process: its signals, the slots that it offers, its end when it no longer works."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from redis import Redis
from sqlalchemy import Engine, text

from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.redis_server.address import read_redis_url
from imagequeue.redis_server.client import open_redis
from imagequeue.signals import NOT_WORKING
from imagequeue.store.attempts.calls import Doorbell
from tests.builders import NO_REDIS
from tests.eventually import eventually
from tests.worker.running import PATIENCE, QUEUE, SLOTS, running_worker
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher

NO_DATABASE = "postgresql+psycopg://nobody@127.0.0.1:1/none"
TERMINATED_BEFORE_CELERY_TAKES_SIGNALS = """
import os, signal
from celery import signals
@signals.celeryd_after_setup.connect(weak=False)  # the last one before it
def _(**_):
    os.kill(os.getpid(), signal.SIGTERM)
from cli.main import main
main()
"""


def _catches(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def _count(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


def test_a_worker_that_still_waits_for_its_database_ends_when_asked(tmp_path: Path) -> None:
    with running_worker(NO_DATABASE, NO_REDIS, tmp_path) as worker:
        eventually(lambda: _catches(worker, signal.SIGTERM))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0


def test_a_stop_that_comes_just_before_celery_takes_the_signals_is_not_lost(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    program = (sys.executable, "-c", TERMINATED_BEFORE_CELERY_TAKES_SIGNALS)
    with running_worker(database_url, redis_url, tmp_path, program) as worker:
        assert worker.wait(PATIENCE) == 0


def test_a_hangup_while_redis_is_away_reads_the_catalog_again(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """Celery, which has no broker yet, would start the program anew."""
    with running_worker(database_url, NO_REDIS, tmp_path) as worker:
        eventually(lambda: _catches(worker, signal.SIGUSR1))  # Celery's own: it has taken its signals
        beats = "SELECT coalesce(max(beat), 0) FROM processes"
        seen = _count(engine, beats)
        eventually(lambda: _count(engine, beats) > seen)
        worker.send_signal(signal.SIGHUP)
        eventually(lambda: _count(engine, "SELECT count(*) FROM catalog_reloads") == 1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0


def _await_slots(engine: Engine, expected: int) -> None:
    slots = "SELECT coalesce(max(slots), -1) FROM processes WHERE beat > 0"
    eventually(lambda: _count(engine, slots) == expected)


def test_a_worker_whose_storage_is_unusable_offers_no_slots_until_a_write_succeeds(
    engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "media").write_text("not a directory")
    with running_worker(database_url, redis_url, tmp_path):
        _await_slots(engine, 0)
        (tmp_path / "media").unlink()
        _await_slots(engine, SLOTS)
        assert (tmp_path / "media").is_dir()


def _await_consumer(redis: Redis, worker: subprocess.Popen[bytes]) -> None:
    """Wait until Celery's consumer waits for messages."""

    def consumes() -> bool:
        assert worker.poll() is None
        clients: list[dict[str, str]] = redis.client_list()  # pyright: ignore[reportUnknownMemberType]
        return any(client["cmd"] == "brpop" for client in clients)

    eventually(consumes)


def test_a_worker_whose_consumer_stands_still_exits_with_70(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {"IMAGEQUEUE_FAILPOINT": "worker.received:sleep", "IMAGEQUEUE_LIVENESS_SECONDS": "0.1"}
    with (
        Redis.from_url(redis_url) as redis,  # pyright: ignore[reportUnknownMemberType]
        running_worker(database_url, redis_url, tmp_path, **settings) as worker,
    ):
        _await_consumer(redis, worker)
        doorbells = [Doorbell(new_id(), Lane.INTERACTIVE) for _ in range(3)]
        CeleryPublisher(make_app(read_redis_url(redis_url)), open_redis(read_redis_url(redis_url))).attempts(
            doorbells
        )
        assert worker.wait(PATIENCE) == NOT_WORKING
        assert redis.llen(QUEUE) == 2, "it had begun to consume"


def test_a_worker_whose_connections_to_redis_were_cut_takes_messages_again(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    publisher = CeleryPublisher(make_app(read_redis_url(redis_url)), open_redis(read_redis_url(redis_url)))
    with (
        Redis.from_url(redis_url) as redis,  # pyright: ignore[reportUnknownMemberType]
        running_worker(database_url, redis_url, tmp_path) as worker,
    ):
        for _ in range(3):
            _await_consumer(redis, worker)
            publisher.attempts([Doorbell(new_id(), Lane.INTERACTIVE) for _ in range(2 * SLOTS)])
            eventually(lambda: redis.llen(QUEUE) == 0)
            redis.client_kill_filter(_type="normal", skipme=True)  # pyright: ignore[reportUnknownMemberType]
        assert worker.poll() is None
