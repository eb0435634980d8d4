"""The process dies after the webhook's POST, before its record: it is told again, under the same id."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.crash.conftest import MakeCrash
from tests.servers import ServerThread


def test_a_webhook_that_was_sent_and_not_recorded_is_sent_again(make_crash: MakeCrash) -> None:
    ids = list[str]()

    async def take(request: Request) -> Response:
        ids.append(request.headers["webhook-id"])
        return Response()

    with ServerThread(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as receiver:
        crash = make_crash(allow=receiver.url.removeprefix("http://"))
        crash.pipeline.submit(webhook_url=f"{receiver.url}/hook")
        crash.pipeline.run()
        crash.die("deliver", "deliver.sent")
        assert len(ids) == 1
        assert crash.pipeline.rows("SELECT state, attempt_count FROM deliveries") == [("PENDING", 0)]
        crash.pipeline.execute("UPDATE deliveries SET next_attempt_at = clock_timestamp()")
        assert crash.run("deliver") == 0
    assert (len(ids), len(set(ids))) == (2, 1)
    assert crash.pipeline.rows("SELECT state, attempt_count FROM deliveries") == [("DELIVERED", 1)]
