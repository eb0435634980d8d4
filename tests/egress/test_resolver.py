"""Look-ups of names end, and do not hold up each other."""

from __future__ import annotations

import socket
import threading

import pytest

from imagequeue.egress.errors import NameNotResolved
from imagequeue.egress.grammar import check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from tests.egress.certificates import Authority
from tests.egress.receiver import Receiver, answering
from tests.egress.way import NAME, OK, PATIENT, QUICK, Answers, Dialled, Way, failure_of

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("answer", [socket.gaierror(-2, "Name or service not known"), [], ["not an address"]])
def test_no_answer_is_a_dns_error(answer: OSError | list[str]) -> None:
    failure = failure_of(Answers(answer), Dialled())
    assert isinstance(failure, NameNotResolved)
    assert failure.code == "dns_error"
    assert failure.never_sent


def test_a_slow_look_up_ends_and_does_not_hold_up_another_name(authority: Authority) -> None:
    release = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        if host.startswith("slow"):
            release.wait(120)
        return ["127.0.0.1"]

    resolver = BoundedResolver(resolve, at_once=2)
    with Receiver(answering(OK)) as receiver:
        way = Way(receiver.port, authority, resolver=resolver)
        slow = check_destination("https://slow.example.com/", EgressPolicy())
        with pytest.raises(NameNotResolved):
            way.client.post(slow, b"{}", {}, limits=QUICK)
        assert way.client.post(way.destination, b"{}", {}, limits=PATIENT).status == 200
        with pytest.raises(NameNotResolved):
            way.client.post(slow, b"{}", {}, limits=QUICK)
        with pytest.raises(NameNotResolved, match="hang"):
            resolver.resolve(NAME, 443, 0.05)
        release.set()
        assert way.client.post(way.destination, b"{}", {}, limits=PATIENT).status == 200
