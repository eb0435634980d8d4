"""Two thousand webhooks, and two hundred SIGKILLs of the process that delivers them."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from random import Random

import pytest
from sqlalchemy import Engine, text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imagequeue.domain.ids import new_id
from tests import builders
from tests.crash.conftest import Mother
from tests.lifecycle.deliver.outbox import Outbox
from tests.servers import ServerThread

pytestmark = pytest.mark.long

EVENTS, KILLS = 2000, 200
_CLOCK_MOVES = (
    "UPDATE deliveries SET next_attempt_at = now(), leased_until = now() WHERE leased_until > now()"
)


class Receiver:
    """Counts webhooks by their id; `enough` is set when so many more have come as `wanted` says."""

    def __init__(self) -> None:
        self.got = Counter[str]()
        self.wanted = 0
        self.enough = threading.Event()

    async def take(self, request: Request) -> Response:
        self.got[request.headers["webhook-id"]] += 1
        self.wanted -= 1
        if self.wanted == 0:
            self.enough.set()
        return Response()


def _life(mother: Mother, order: dict[str, object], receiver: Receiver, webhooks: int) -> bool:
    """Let a process deliver, and kill it when so many webhooks have come; whether it was killed."""
    receiver.enough.clear()
    receiver.wanted = webhooks
    pid, codes = mother.begin(order), list[int]()

    def end() -> None:
        codes.append(mother.end())
        receiver.enough.set()

    ending = threading.Thread(target=end)
    ending.start()
    receiver.enough.wait()
    if not codes:  # the mother has not reaped it yet, or is about to: its pid is still its own
        os.kill(pid, signal.SIGKILL)
    ending.join()
    return codes[0] == -signal.SIGKILL


def test_every_event_arrives_and_no_more_are_repeated_than_processes_were_killed(
    engine: Engine, database_url: str, mother: Mother
) -> None:
    receiver, random, kills = Receiver(), Random(12), 0  # noqa: S311  # when to kill is no secret
    outbox = Outbox(engine, slots=64)
    account, _ = builders.account(engine, "acme")
    outbox.job_of(account)
    with ServerThread(Starlette(routes=[Route("/hook/{n}", receiver.take, methods=["POST"])])) as server:
        outbox.add(account, server.url, EVENTS)
        outbox.execute("UPDATE deliveries SET url = target || '/hook/' || id, webhook_id = id")
        place = {"database_url": database_url, "allow": server.url.removeprefix("http://")}
        order: dict[str, object] = {
            "verb": "deliver-all",
            "failpoint": "",
            "argument": "",
            "place": _filled(place),
        }
        while outbox.rows("SELECT FROM deliveries WHERE state = 'PENDING' LIMIT 1"):
            webhooks = random.randint(1, 2 * EVENTS // KILLS - 2) if kills < KILLS else EVENTS
            kills += _life(mother, order, receiver, webhooks)
            # The server notices a moment later that the session is gone; until then its rows are locked.
            outbox.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
            outbox.execute(_CLOCK_MOVES)
            outbox.execute("UPDATE processes SET beat_at = clock_timestamp()")
    assert kills == KILLS
    assert len(receiver.got) == EVENTS
    assert receiver.got.total() - EVENTS <= kills
    with engine.connect() as connection:
        counts = connection.execute(text("SELECT DISTINCT state, attempt_count FROM deliveries")).all()
    assert counts == [("DELIVERED", 1)]


def _filled(place: dict[str, str]) -> dict[str, object]:
    unused: dict[str, object] = {
        "directory": "",
        "simulator": "",
        "redis_url": "",
        "deployment": {},
        "upstream": "",
    }
    return {**unused, "process_id": str(new_id()), **place}
