"""A list that the database is slow with delays lists, and nothing else."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text

from imagequeue.domain.jobs import JobStatus
from tests.api.service import Client, title_and_message
from tests.api.test_requests import Stream, move

LISTS = 2
"""As many as there are threads for lists."""
PATIENCE_SECONDS = 20


def wait_until_blocked(engine: Engine, count: int) -> None:
    """Wait until so many statements of this database wait for a lock."""
    waiting = text("""
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    """)
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE_SECONDS
    while True:
        with engine.connect() as connection:  # one transaction would see the same activity for ever
            if connection.execute(waiting).scalar_one() >= count:
                return
        assert time.monotonic() < deadline
        pause.wait(0.02)


def test_slow_lists_keep_nobody_else_waiting(client: Client, engine: Engine) -> None:
    request_id = client.generate().json()["request_id"]
    stream = Stream(client, request_id)
    assert stream.status() == "QUEUED"
    with ThreadPoolExecutor(LISTS) as threads, engine.begin() as locking:
        locking.execute(text("LOCK TABLE job_results IN ACCESS EXCLUSIVE MODE"))
        lists = [threads.submit(client.http.get, "/v2/requests") for _ in range(LISTS)]
        wait_until_blocked(engine, LISTS)
        assert client.http.get("/readyz").status_code == 200
        assert client.http.get("/v2/wallet").status_code == 200
        move(engine, request_id, JobStatus.PROCESSING)
        assert stream.status() == "PROCESSING"
        answers = [one.result(PATIENCE_SECONDS) for one in lists]
    stream.close()
    assert [answer.status_code for answer in answers] == [503] * LISTS
    assert "created_after" in title_and_message(answers[0])[1]
    assert int(answers[0].headers["Retry-After"]) >= 1
    assert client.http.get("/v2/requests").status_code == 200
