"""The client commands against a real server, as a user's shell would run them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from cli.submit import submit
from cli.watch import status, watch
from tests.api.service import Client, serving

app = typer.Typer()
for command in (submit, status, watch):
    app.command()(command)


class Shell:
    """Runs commands against a server, with the key of an account."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.environment: dict[str, str | None] = {
            "IMAGEQUEUE_URL": client.service.url,
            "IMAGEQUEUE_KEY": client.key,
        }

    def run(self, *words: str, status: int = 0) -> Result:
        result = CliRunner().invoke(app, words, env=self.environment)
        assert result.exit_code == status, result.output
        assert not result.exception or isinstance(result.exception, SystemExit), result.exception
        return result


@pytest.fixture
def shell(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Shell]:
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media") as service:
        yield Shell(service.client())


def settle(engine: Engine, request_id: str, status: str, **fields: object) -> None:
    body = {"request_id": request_id, "status": status, "error": None, "output": None, **fields}
    job_id = {"id": request_id.rpartition("_")[2]}
    with engine.begin() as connection:
        connection.execute(
            text("""
                UPDATE jobs SET status = :status, finished_at = clock_timestamp() WHERE id = CAST(:id AS uuid)
            """),
            job_id | {"status": status},
        )
        connection.execute(
            text("INSERT INTO job_results (job_id, body) VALUES (CAST(:id AS uuid), :body)"),
            job_id | {"body": json.dumps(body)},
        )


def test_submit_prints_the_id_that_status_takes(shell: Shell) -> None:
    request_id = shell.run(
        "submit", "a red fox", "-n", "2", "--ratio", "16:9", "--format", "webp"
    ).stdout.strip()
    assert shell.run("status", request_id).stdout.strip() == f"{request_id}  QUEUED"
    body = json.loads(shell.run("status", request_id, "--json").stdout)
    assert body["request_id"] == request_id
    assert shell.client.wallet()["held"] == "0.078"


def test_repeating_a_submit_with_its_key_is_safe(shell: Shell) -> None:
    words = ("submit", "a red fox", "--idempotency-key", "k", "--json")
    assert shell.run(*words).stdout == shell.run(*words).stdout
    assert shell.client.service.rows()["jobs"] == 1


def test_watch_waits_for_every_job_and_prints_where_the_images_are(shell: Shell, engine: Engine) -> None:
    ids = [shell.run("submit", "a red fox").stdout.strip() for _ in range(2)]
    settle(engine, ids[0], "COMPLETED", output={"media_url": ["http://x/1.png"], "media_type": "image/png"})
    later = threading.Timer(
        0.3, settle, (engine, ids[1], "COMPLETED"), {"output": {"media_url": ["http://x/2.png"]}}
    )
    later.start()
    lines = shell.run("watch", *ids).stdout.splitlines()
    later.join()
    assert lines == [f"{ids[0]}  COMPLETED", "  http://x/1.png", f"{ids[1]}  COMPLETED", "  http://x/2.png"]


def test_watch_fails_when_a_job_did(shell: Shell, engine: Engine) -> None:
    request_id = shell.run("submit", "a red fox").stdout.strip()
    settle(engine, request_id, "FAILED", error="refused by policy")
    assert (
        shell.run("watch", request_id, status=1).stdout.strip() == f"{request_id}  FAILED  refused by policy"
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("submit", "ab"), "400 Bad Request: prompt"),
        (("submit", "a fox", "--lane", "express"), "X-Lane"),
        (("submit", "a fox", "--model", "nope"), "Model 'nope' not found"),
        (("status", "nothing"), "404 Not Found"),
    ],
)
def test_the_servers_reason_is_shown(shell: Shell, words: list[str], complaint: str) -> None:
    result = shell.run(*words, status=1)
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_key_or_server_is_told_in_one_line(shell: Shell) -> None:
    shell.environment["IMAGEQUEUE_KEY"] = None
    assert "IMAGEQUEUE_KEY" in shell.run("status", "x", status=1).stderr
    shell.environment |= {"IMAGEQUEUE_KEY": "x", "IMAGEQUEUE_URL": "http://127.0.0.1:1"}
    assert "does not answer" in shell.run("status", "x", status=1).stderr
