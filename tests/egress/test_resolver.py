"""Look-ups of names end, and do not hold up each other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import pytest

from imagequeue.egress.addresses import IPAddress
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.errors import EgressError, NameNotResolved
from imagequeue.egress.grammar import check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from tests.egress.certificates import Authority
from tests.egress.receiver import Receiver, answering
from tests.egress.way import NAME, PATIENT, QUICK, Way

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
pytestmark = pytest.mark.timeout(120)


class Answers:
    """A resolver that gives one answer after the other and stays with the last; an answer may be an error."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """Give the next answer, whatever is asked."""
        del host, port
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if isinstance(answer, OSError):
            raise answer
        return answer


class Dialled:
    """A dialler that records what it is asked for and goes elsewhere, or fails."""

    def __init__(self, elsewhere: tuple[str, int] | None = None) -> None:
        self._elsewhere = elsewhere
        self.asked: list[str] = []

    def __call__(self, address: IPAddress, port: int, seconds: float) -> socket.socket:
        """Connect elsewhere, whatever is asked."""
        del port
        self.asked.append(str(address))
        if self._elsewhere is None:
            raise ConnectionRefusedError("refused by the test")
        return socket.create_connection(self._elsewhere, timeout=seconds)


def _failure(resolver: Answers, dialled: Dialled, policy: EgressPolicy | None = None) -> EgressError:
    client = GuardedClient(
        policy or EgressPolicy(), user_agent="test", resolver=BoundedResolver(resolver), dial=dialled
    )
    with pytest.raises(EgressError) as failure:
        client.post(check_destination(f"https://{NAME}/", EgressPolicy()), b"{}", {}, limits=PATIENT)
    return failure.value


@pytest.mark.parametrize("answer", [socket.gaierror(-2, "Name or service not known"), [], ["not an address"]])
def test_no_answer_is_a_dns_error(answer: OSError | list[str]) -> None:
    failure = _failure(Answers(answer), Dialled())
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
