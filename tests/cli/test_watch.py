"""`imagequeue watch` and `status`, as a user's shell runs them."""

from __future__ import annotations

import json
import threading

from sqlalchemy import Engine, text

from tests.cli.shell import Shell


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
