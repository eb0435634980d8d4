"""The connection: only to addresses that were looked up and admitted, and to no other peer."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Any

import pytest

from imagequeue.egress.addresses import IPAddress
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.errors import ConnectFailed, DestinationBlocked, TimedOut
from imagequeue.egress.grammar import check_destination
from imagequeue.egress.network import DeadlineNetwork, dial
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from tests.egress.certificates import Authority
from tests.egress.receiver import Conversation, Receiver, answering
from tests.egress.way import NAME, OK, PATIENT, QUICK, Answers, Dialled, Way, failure_of

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "10.0.0.1"],
        ["10.0.0.1", "93.184.216.34"],
        ["93.184.216.34", "::1"],
        ["::ffff:93.184.216.34"],
        ["168.63.129.16"],
        ["fe80::1%lo"],
        ["1.1.1.1"] * 50 + ["169.254.169.254"],
    ],
)
def test_one_bad_answer_refuses_them_all_and_nothing_is_dialled(answers: list[str]) -> None:
    dialled = Dialled()
    failure = failure_of(Answers(answers), dialled)
    assert isinstance(failure, DestinationBlocked)
    assert failure.code == "blocked_destination"
    assert failure.never_sent
    assert dialled.asked == []


def test_a_public_address_is_dialled_by_number_and_the_name_is_asked_once() -> None:
    resolver, dialled = Answers(["93.184.216.34", "2606:4700::1111", "93.184.216.34"]), Dialled()
    failure = failure_of(resolver, dialled)
    assert isinstance(failure, ConnectFailed)
    assert dialled.asked == ["93.184.216.34", "2606:4700::1111"]
    assert resolver.asked == 1


def test_of_many_addresses_only_a_few_are_dialled() -> None:
    dialled = Dialled()
    failure_of(Answers([f"93.184.216.{last}" for last in range(1, 200)]), dialled)
    assert len(dialled.asked) == 4


def test_an_answer_that_turns_private_between_two_attempts_is_refused_at_the_second() -> None:
    resolver, dialled = Answers(["93.184.216.34"], ["127.0.0.1"]), Dialled()
    assert isinstance(failure_of(resolver, dialled), ConnectFailed)
    assert isinstance(failure_of(resolver, dialled), DestinationBlocked)
    assert dialled.asked == ["93.184.216.34"]


def test_a_peer_that_is_not_the_checked_address_is_left_without_a_byte() -> None:
    heard: list[bytes] = []
    closed = threading.Event()

    def listen(conversation: Conversation) -> None:
        heard.append(conversation.sock.recv(100))
        closed.set()

    with Receiver(listen) as receiver:
        failure = failure_of(Answers(["93.184.216.34"]), Dialled(("127.0.0.1", receiver.port)))
        assert closed.wait(120)
    assert isinstance(failure, DestinationBlocked)
    assert failure.never_sent
    assert heard == [b""]


def test_the_second_address_is_tried_when_the_first_refuses(authority: Authority) -> None:
    with Receiver(answering(OK)) as receiver:
        resolver = BoundedResolver(Answers(["127.0.0.2", "127.0.0.1"]))
        way = Way(receiver.port, authority, resolver=resolver)
        assert way.client.post(way.destination, b"{}", {}, limits=PATIENT).status == 200


def test_a_connect_that_hangs_is_a_timeout_that_never_sent() -> None:
    def hang(address: IPAddress, port: int, seconds: float) -> socket.socket:
        raise TimeoutError(f"timed out after {seconds} s")

    client = GuardedClient(
        EgressPolicy(), user_agent="test", resolver=BoundedResolver(Answers(["93.184.216.34"])), dial=hang
    )
    with pytest.raises(TimedOut) as failure:
        client.post(check_destination(f"https://{NAME}/", EgressPolicy()), b"{}", {}, limits=QUICK)
    assert failure.value.never_sent


def test_a_full_backlog_is_a_timeout() -> None:
    """The system's own dialling ends too: nobody accepts, and the queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with ExitStack() as waiting, pytest.raises(TimeoutError):
            _dial_until_full(waiting, listener.getsockname()[1])


def _dial_until_full(waiting: ExitStack, port: int) -> None:
    for _ in range(64):
        waiting.enter_context(dial(ip_address("127.0.0.1"), port, 0.1))


@pytest.mark.parametrize("chosen", [{"local_address": "127.0.0.2"}, {"socket_options": []}])
def test_no_caller_chooses_the_local_address_or_socket_options(chosen: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no caller"):
        DeadlineNetwork().connect_tcp("127.0.0.1", 1, **chosen)
