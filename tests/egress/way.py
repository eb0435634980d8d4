"""What the tests of the way out share: names that lead to loopback, and answers and dials by a script."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from imagequeue.egress.addresses import IPAddress
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import EgressError
from imagequeue.egress.grammar import Destination, check_destination
from imagequeue.egress.network import Dial, dial
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.tls import tls_context
from tests.egress.certificates import Authority

NAME = "receiver.example.com"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
QUICK = Limits(total_seconds=1.5, dns_seconds=1.0, connect_seconds=1.0, first_byte_seconds=1.2)
"""For what is to end at its limit: on a busy machine as well, all that goes before takes less."""
PATIENT = Limits(total_seconds=120.0, first_byte_seconds=120.0)
"""For what is to succeed."""


def to_loopback(host: str, port: int) -> list[str]:
    """Resolve every name to loopback."""
    del host, port
    return ["127.0.0.1"]


class Way:
    """A client that may reach `NAME` on one port, which leads to loopback, and the destination there."""

    def __init__(
        self,
        port: int,
        authority: Authority,
        *,
        scheme: str = "http",
        resolver: BoundedResolver | None = None,
        dial: Dial = dial,
    ) -> None:
        self.policy = EgressPolicy.parse(allow=f"{NAME}:{port}")
        self.client = GuardedClient(
            self.policy,
            user_agent="imagequeue/test",
            tls=tls_context(authority.pem),
            resolver=resolver or BoundedResolver(to_loopback),
            dial=dial,
        )
        self.destination: Destination = check_destination(f"{scheme}://{NAME}:{port}/hook?x=%20", self.policy)


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


def failure_of(resolver: Answers, dialled: Dialled, policy: EgressPolicy | None = None) -> EgressError:
    """The error of a delivery to NAME."""
    client = GuardedClient(
        policy or EgressPolicy(), user_agent="test", resolver=BoundedResolver(resolver), dial=dialled
    )
    with pytest.raises(EgressError) as failure:
        client.post(check_destination(f"https://{NAME}/", EgressPolicy()), b"{}", {}, limits=PATIENT)
    return failure.value
