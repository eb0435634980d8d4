"""The API as a process: it serves, ends on SIGTERM, and logs no key, prompt or secret whatever goes wrong."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, make_url, text

from api.server import MOST_FILES
from tests.api.process import UPSTREAM_KEY, api_process
from tests.api.service import BODY, ROUTE
from tests.builders import SECRET_KEY, account, count
from tests.eventually import eventually

PROMPT = "an unmistakable prompt about a marmot"


def test_the_process_serves_ends_on_sigterm_and_logs_no_secret(
    database_url: str, tmp_path: Path, engine: Engine
) -> None:
    _, issued = account(engine, "client")
    with api_process(database_url, tmp_path) as process:
        with httpx.Client(base_url=process.url, headers={"api-key": issued.key}, timeout=120) as http:
            _misbehave(http, engine)
        assert process.terminate() == 0
    assert "unexpected_error" in process.output
    for secret in (PROMPT, issued.key, issued.webhook_secret, SECRET_KEY, UPSTREAM_KEY, "marmot"):
        assert secret not in process.output
    password = make_url(database_url).password
    password = make_url(database_url).password
    assert password is None or str(password) not in process.output


def _misbehave(http: httpx.Client, engine: Engine) -> None:
    """Good requests, bad requests, and an insert that the database refuses with the row in its message."""
    assert http.post(ROUTE, json=BODY | {"prompt": PROMPT}).status_code == 202
    assert http.post(ROUTE, json=BODY | {"prompt": PROMPT, "num_images": 9}).status_code == 400
    assert http.post(ROUTE, content=f'{{"prompt": "{PROMPT}"').status_code == 400
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE job_requests ADD CHECK (prompt NOT LIKE '%refused%') NOT VALID"))
    assert http.post(ROUTE, json=BODY | {"prompt": PROMPT + " refused"}).status_code == 500
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME TO jobs_elsewhere"))
    assert http.post(ROUTE, json=BODY | {"prompt": PROMPT}).status_code == 500


def test_a_process_that_ends_tells_its_waiting_clients_that_their_jobs_go_on(
    database_url: str, tmp_path: Path, engine: Engine
) -> None:
    _, issued = account(engine, "client")
    with (
        api_process(database_url, tmp_path) as process,
        httpx.Client(base_url=process.url, headers={"api-key": issued.key}, timeout=60) as http,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(http.post, ROUTE, json=BODY | {"sync_mode": True})
        eventually(lambda: count(engine, "jobs"))
        assert process.terminate() == 0
        told = answer.result()
    assert (told.status_code, told.headers["x-should-retry"]) == (504, "false")
    assert told.headers["X-Request-Id"] in told.json()["message"]


@pytest.fixture
def few_files() -> Iterator[int]:
    """Children of this process begin with a low limit of open files, which they may raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_process_may_have_more_connections_than_it_was_started_with(
    database_url: str, tmp_path: Path, few_files: int
) -> None:
    with api_process(database_url, tmp_path) as process:
        assert httpx.get(f"{process.url}/healthz", timeout=60).status_code == 200
        soft, _ = resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE)
        assert soft == min(few_files, MOST_FILES)
