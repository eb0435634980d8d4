"""The process dies before the webhook's POST, or before its record: it is sent again, under the same id."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.crash.conftest import MakeCrash
from tests.servers import ServerThread


@pytest.mark.parametrize(
    ("place", "told"),
    [("deliver.claimed", 1), ("deliver.sent", 2)],
)
def test_a_webhook_whose_process_died_arrives(make_crash: MakeCrash, place: str, told: int) -> None:
    ids = list[str]()

    async def take(request: Request) -> Response:
        ids.append(request.headers["webhook-id"])
        return Response()

    with ServerThread(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as receiver:
        crash = make_crash(allow=receiver.url.removeprefix("http://"))
        crash.pipeline.submit(webhook_url=f"{receiver.url}/hook")
        crash.pipeline.run()
        crash.die("deliver", place)
        assert len(ids) == told - 1
        assert crash.pipeline.rows("SELECT state, attempt_count FROM deliveries") == [("PENDING", 0)]
        crash.pipeline.beat()
        assert crash.run("deliver") == 0
        assert len(ids) == told - 1, "its lease goes on"
        crash.pipeline.execute("UPDATE deliveries SET next_attempt_at = now(), leased_until = now()")
        assert crash.run("deliver") == 0
    assert (len(ids), len(set(ids))) == (told, 1)
    assert crash.pipeline.rows("SELECT state, attempt_count FROM deliveries") == [("DELIVERED", 1)]
