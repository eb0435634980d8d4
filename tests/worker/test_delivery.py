"""The real program `imagequeue worker --queues deliveries`: it needs no Redis, and ends what it has begun."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests import builders
from tests.builders import NO_REDIS
from tests.lifecycle.deliver.outbox import Outbox
from tests.servers import ServerThread
from tests.worker.running import PATIENCE, PROGRAM, running_process

pytestmark = pytest.mark.long

WEBHOOKS = 30


class Receiver:
    """Answers at once, but keeps the first webhook waiting until it is told to answer."""

    def __init__(self) -> None:
        self.got = 0
        self.all_came, self.answer = threading.Event(), threading.Event()

    def take(self, request: Request) -> Response:
        """In a thread, so that one that waits holds up no other."""
        del request
        self.got += 1
        if self.got == WEBHOOKS:
            self.all_came.set()
        if self.got == 1:
            self.answer.wait(PATIENCE)
        return Response()


def test_without_redis_webhooks_arrive_and_what_is_in_flight_at_sigterm_is_recorded(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    receiver, outbox = Receiver(), Outbox(engine, slots=1)
    account, _ = builders.account(engine, "acme")
    outbox.job_of(account)
    outbox.execute("DELETE FROM processes")
    command = (*PROGRAM, "worker", "--queues", "deliveries", "--concurrency", "8")
    with ServerThread(Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])) as server:
        outbox.add(account, server.url, WEBHOOKS)
        outbox.execute("UPDATE deliveries SET url = target || '/hook?' || id")
        allow = {"IMAGEQUEUE_EGRESS_ALLOW": server.url.removeprefix("http://")}
        with running_process(command, database_url, NO_REDIS, tmp_path, **allow) as process:
            assert receiver.all_came.wait(PATIENCE)
            process.send_signal(signal.SIGTERM)
            receiver.answer.set()
            assert process.wait(PATIENCE) == 0
    (row,) = outbox.rows("SELECT DISTINCT state, attempt_count FROM deliveries")
    assert tuple(row) == ("DELIVERED", 1)
    assert receiver.got == WEBHOOKS
    assert outbox.rows("SELECT FROM processes") == []
