"""The hostile client: what it sends arrives as it is, and what the server does with it is told as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest
from fastapi import Response
from starlette.types import Receive, Scope, Send

from api.edge.limits import EdgeLimits
from chaos.evidence import Evidence, Finding
from chaos.faults import Fault
from chaos.hostile.attacks import Attacks
from chaos.hostile.client import HostileClient
from chaos.hostile.exchange import ADDRESS, NO_ANSWER, Answer, Shape, answers_in, exchange
from chaos.invariants.hostile import (
    no_hostile_connection_outlives_its_bound,
    others_are_served_beside_the_hostile_client,
    the_hostile_client_is_refused,
    the_status_route_stays_quick,
)
from chaos.notes import Outage, Poll
from tests.api.edge.serving import api_without_database, on_edge
from tests.chaos.runs import NOW, faultless, refused_connection, reread
from tests.servers import ServerThread

LIMITS = EdgeLimits(
    head_seconds=0.4, body_grace_seconds=0.4, linger_seconds=0.4, stall_seconds=0.4, idle_seconds=0.4
)
Invariant = Callable[[Evidence], Finding]
REFUSED = (Answer(400, retry_after=False),)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    """The API on the edge; its database is away."""
    with api_without_database(LIMITS, tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(scope="module")
def attacks() -> Attacks:
    return Attacks("iq_wrong", "a-model")


def one_of_each(attacks: Attacks) -> Iterator[Shape]:
    """A connection of each kind; a slow one pauses for less."""
    for attack in attacks.by_name.values():
        for shape in {shape.name: shape for shape in attack()}.values():
            yield replace(shape, pause_seconds=shape.pause_seconds / 20)


def test_every_hostile_connection_is_answered_as_it_may_be_and_closed(
    api: ServerThread, attacks: Attacks
) -> None:
    run = faultless()
    run.hostile = [
        found for shape in one_of_each(attacks) if (found := asyncio.run(exchange(api.port, shape)))
    ]
    assert len(run.hostile) >= len(attacks.by_name)
    assert the_hostile_client_is_refused(run).violations == []
    assert [one.shape.name for one in run.hostile if one.ended is None] == []


async def says_who_asks(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the address of the client, as a status: 4xx with its last number."""
    if scope["type"] == "http":
        last = scope["client"][0].rpartition(".")[2]
        await Response(status_code=400 + int(last), headers={"Connection": "close"})(scope, receive, send)


def test_its_requests_come_from_an_address_of_its_own() -> None:
    request = Shape("a request", (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",))
    with on_edge(says_who_asks, LIMITS) as (server, _):
        found = asyncio.run(exchange(server.port, request))
    assert found is not None
    assert found.answers == (Answer(400 + int(ADDRESS.rpartition(".")[2]), retry_after=False),)


def test_a_server_that_is_away_is_no_exchange() -> None:
    with on_edge(says_who_asks, LIMITS) as (server, _):
        port = server.port
    assert asyncio.run(exchange(port, Shape("nothing", ()))) is None


def test_a_connection_that_the_server_keeps_open_has_no_end() -> None:
    with on_edge(says_who_asks) as (server, _):
        silent = Shape("nothing", (), bound_seconds=0.1)
        found = asyncio.run(exchange(server.port, silent, extra_seconds=0.1))
    assert found is not None
    assert found.ended is None


def test_it_attacks_until_it_is_stopped_and_then_waits_for_its_connections(
    api: ServerThread, attacks: Attacks
) -> None:
    attacks.by_name = {"half heads": attacks.by_name["half heads"]}
    client = HostileClient(api.port, attacks, Random(1))  # noqa: S311  # no secret
    client.start()
    client.stop()
    client.join()
    assert {one.shape.name for one in client.exchanges} == {"half a head"}


@pytest.mark.parametrize(
    ("received", "answers"),
    [
        (b"", []),
        (b"HTTP/1.1 200 OK\r\ncontent-le", []),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 400 Bad\r\n\r\n", [200, 400]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 500\r\n\r\n", [200, NO_ANSWER]),
    ],
)
def test_the_answers_of_a_connection_are_told_apart(received: bytes, answers: list[int]) -> None:
    assert [answer.status for answer in answers_in(received)] == answers


def test_an_answer_says_when_to_come_again() -> None:
    (answer,) = answers_in(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n")
    assert answer == Answer(503, retry_after=True)


def fault(kind: str, target: str, began: float, ended: float) -> Callable[[Evidence], object]:
    return lambda run: run.faults.append(Fault(kind, target, 1, NOW + began, NOW + ended))


def told(*answers: Answer) -> Callable[[Evidence], object]:
    return lambda run: run.hostile.append(refused_connection(answers=answers))


def outage(at: float) -> Callable[[Evidence], object]:
    return lambda run: run.notes.outages.append(Outage(NOW + at, "try again"))


def open_for(seconds: float) -> Callable[[Evidence], object]:
    return lambda run: run.hostile.append(refused_connection(ended=NOW + seconds))


def polls(count: int, at: float, seconds: float) -> Callable[[Evidence], object]:
    return lambda run: run.notes.polls.extend([Poll(NOW + at, seconds)] * count)


POSTGRES = fault("postgres immediate stop", "postgres", 100, 110)
STOPPED = fault("SIGSTOP, then SIGCONT", "api-2 for 40 s", 5, 45)
WORKER = fault("SIGSTOP, then SIGCONT", "worker-deliveries-1 for 40 s", 100, 140)

SEEN: dict[str, tuple[Invariant, list[Callable[[Evidence], object]], bool]] = {
    "503 with Retry-After": (the_hostile_client_is_refused, [told(Answer(503, retry_after=True))], True),
    "503 without it": (the_hostile_client_is_refused, [told(Answer(503, retry_after=False))], False),
    "504": (the_hostile_client_is_refused, [told(Answer(504, retry_after=True))], False),
    "a job for half a head": (the_hostile_client_is_refused, [told(Answer(202, retry_after=False))], False),
    "two answers to one request": (the_hostile_client_is_refused, [told(*REFUSED, *REFUSED)], False),
    "no connection": (the_hostile_client_is_refused, [lambda run: run.hostile.clear()], False),
    "closed late on a busy machine": (no_hostile_connection_outlives_its_bound, [open_for(30)], True),
    "closed too late": (no_hostile_connection_outlives_its_bound, [open_for(60)], False),
    "closed by a process that stood still": (
        no_hostile_connection_outlives_its_bound,
        [open_for(60), STOPPED],
        True,
    ),
    "503 before a fault": (others_are_served_beside_the_hostile_client, [outage(90), POSTGRES], False),
    "503 in a fault": (others_are_served_beside_the_hostile_client, [outage(105), POSTGRES], True),
    "503 long after a fault": (others_are_served_beside_the_hostile_client, [outage(130), POSTGRES], False),
    "503 while a worker stands still": (
        others_are_served_beside_the_hostile_client,
        [outage(120), WORKER],
        False,
    ),
    "polls that all take a second": (the_status_route_stays_quick, [polls(200, 90, 1.0)], False),
    "polls that took long beside a fault": (
        the_status_route_stays_quick,
        [polls(200, 105, 9.0), POSTGRES],
        True,
    ),
    "one slow poll of many": (the_status_route_stays_quick, [polls(200, 90, 0.01), polls(1, 90, 9.0)], True),
    "one poll of many that was given up": (
        the_status_route_stays_quick,
        [polls(200, 90, 0.01), polls(1, 90, 15.0)],
        False,
    ),
    "no poll": (the_status_route_stays_quick, [lambda run: run.notes.polls.clear()], False),
}


@pytest.mark.parametrize("name", SEEN)
def test_what_is_seen_of_it_is_a_violation_or_is_none(name: str) -> None:
    invariant, seen, allowed = SEEN[name]
    run = faultless()
    for happened in seen:
        happened(run)
    assert bool(invariant(reread(run)).violations) is not allowed
