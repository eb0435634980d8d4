"""`imagequeue watch` and `status`, as a user's shell runs them."""

from __future__ import annotations

import json
import threading

import httpx
import pytest
from sqlalchemy import Engine, text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cli.progress import follow
from cli.remote import Remote
from tests.cli.shell import Shell
from tests.loopback import NO_TLS
from tests.servers import ServerThread


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


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_watch_outlives_a_proxy_whose_server_is_restarted(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between two answers of the server there is a page of the proxy before it."""
    bodies = {"request_id": "x", "error": None, "output": None}
    answers = iter(
        [
            JSONResponse(bodies | {"status": "QUEUED"}),
            Response("<html>", status),
            JSONResponse(bodies | {"status": "COMPLETED"}),
        ]
    )

    async def answer(request: Request) -> Response:
        del request
        return next(answers)

    routes = [Route("/v2/requests/status/x", answer)]
    with (
        ServerThread(Starlette(routes=routes)) as server,
        httpx.Client(base_url=server.url, verify=NO_TLS) as http,
    ):
        follow(Remote(http), ["x"], as_json=True)
    assert json.loads(capsys.readouterr().out)["status"] == "COMPLETED"
    assert list(answers) == []


class Restarting(httpx.BaseTransport):
    """A server that refuses connections for its second request, as one that is restarted does."""

    def __init__(self) -> None:
        self.asked = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.asked == 2:
            raise httpx.ConnectError("refused", request=request)
        status = "QUEUED" if self.asked == 1 else "COMPLETED"
        body = {"request_id": "x", "status": status, "error": None, "output": None}
        return httpx.Response(200, json=body)


def test_watch_outlives_a_restart_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    restarting = Restarting()
    with httpx.Client(base_url="http://api", transport=restarting) as http:
        follow(Remote(http), ["x"], as_json=True)
    assert json.loads(capsys.readouterr().out)["status"] == "COMPLETED"
    assert restarting.asked == 3
