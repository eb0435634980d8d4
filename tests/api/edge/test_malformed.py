"""Malformed requests, all at one server: refused, and no neighbour on the connection notices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.edge.limits import EdgeLimits
from chaos.hostile.malformed import CHUNKS, MALFORMED, Malformed
from tests.api.edge.conversation import GOOD, HEALTHY, Conversation
from tests.api.edge.serving import api_without_database, echo, on_edge
from tests.servers import ServerThread

LIMITS = EdgeLimits(head_seconds=0.4, body_grace_seconds=0.4, linger_seconds=0.4)
LEAST = 84
"""What the list has at least."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerThread]:
    """An app that reads every body."""
    with on_edge(echo, LIMITS) as (server, _):
        yield server


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    """The API, which answers without reading a body, because nobody has a key."""
    with api_without_database(LIMITS, tmp_path_factory.mktemp("api")) as server:
        yield server


def test_the_list_is_long_enough_and_says_each_thing_once() -> None:
    names, sent = ({getattr(one, field) for one in MALFORMED} for field in ("name", "sent"))
    assert len(names) == len(sent) == len(MALFORMED) >= LEAST


def behind(malformed: Malformed) -> bytes:
    """What is sent after it: another request, unless it is an incomplete one, which that would complete."""
    return b"" if 408 in malformed.statuses else GOOD


@pytest.mark.parametrize("malformed", MALFORMED, ids=lambda one: one.name)
def test_it_is_refused_its_neighbour_before_is_answered_and_nothing_behind_it_is(
    server: ServerThread, malformed: Malformed
) -> None:
    with Conversation(server.port) as connection:
        connection.send(GOOD + malformed.sent + behind(malformed))
        before, refusal = connection.answer(), connection.answer()
        assert before.body == b"GET /healthz 0 host"
        assert refusal.status in malformed.statuses
        assert refusal.fields["connection"] == "close"
        assert connection.rest() == b""


@pytest.mark.parametrize("malformed", CHUNKS, ids=lambda one: one.name)
def test_where_the_answer_came_before_the_body_was_read_it_stays_the_only_one(
    api: ServerThread, malformed: Malformed
) -> None:
    with Conversation(api.port) as connection:
        connection.send(GOOD + malformed.sent + behind(malformed))
        before, answer = connection.answer(), connection.answer()
        assert (before.status, before.body) == (200, HEALTHY)
        assert answer.status in (404, *malformed.statuses)
        assert connection.rest() == b""
