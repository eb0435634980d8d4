"""Keys, prompts and secrets never reach a log, whatever goes wrong: a real API process, its whole output."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text

from imagequeue.settings import PREFIX
from tests.api.service import BODY, ROUTE
from tests.builders import MODEL, NO_REDIS, SECRET_KEY, account

CATALOG = f"""
[[models]]
id = "{MODEL}"
price_usd = "0.039"

[[deployments]]
name = "east"
model = "{MODEL}"
provider = "foundry"
upstream_model = "mai-image-2-5"
endpoint = "http://127.0.0.1:9"
key_env = "EAST_KEY"
rpm = 6
"""
PROMPT = "an unmistakable prompt about a marmot"


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(CATALOG, "utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | {
        "IMAGEQUEUE_DATABASE_URL": database_url.replace("postgresql+psycopg", "postgresql"),
        "IMAGEQUEUE_REDIS_URL": NO_REDIS,
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
        "IMAGEQUEUE_STORAGE_URL": f"file://{tmp_path}/media",
        "IMAGEQUEUE_LOG_LEVEL": "DEBUG",
        "EAST_KEY": "the upstream's own key",
    }


def test_the_process_serves_ends_on_sigterm_and_logs_no_secret(
    environment: dict[str, str], engine: Engine
) -> None:
    _, issued = account(engine, "client")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "cli", "api", "--fd", str(listener.fileno())]
        process = subprocess.Popen(
            command,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            with httpx.Client(base_url=url, headers={"api-key": issued.key}, timeout=60) as http:
                _misbehave(http, engine)
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert "database_away" in output or "unexpected_error" in output
    for secret in (PROMPT, issued.key, issued.webhook_secret, SECRET_KEY, environment["EAST_KEY"], "marmot"):
        assert secret not in output
    password = engine.url.password
    assert password is None or password not in output


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
