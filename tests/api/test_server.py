"""The API as a process: it serves, ends on SIGTERM, and logs no key, prompt or secret whatever goes wrong."""

from __future__ import annotations

from pathlib import Path

import httpx
from sqlalchemy import Engine, text

from tests.api.process import UPSTREAM_KEY, api_process
from tests.api.service import BODY, ROUTE
from tests.builders import SECRET_KEY, account

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
    password = engine.url.password
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
