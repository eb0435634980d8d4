"""The real worker and its signals: Celery takes them when it starts, and none is lost before or by that."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, text

from tests.builders import NO_REDIS
from tests.worker.running import PATIENCE, running_worker

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


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
        _until(lambda: _catches(worker, signal.SIGTERM))
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
        _until(lambda: _catches(worker, signal.SIGUSR1))  # Celery's own: it has taken its signals
        beats = "SELECT coalesce(max(beat), 0) FROM processes"
        seen = _count(engine, beats)
        _until(lambda: _count(engine, beats) > seen)
        worker.send_signal(signal.SIGHUP)
        _until(lambda: _count(engine, "SELECT count(*) FROM catalog_reloads") == 1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
