"""What the tests of the way out share."""

from __future__ import annotations

from imagequeue.egress.client import GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.grammar import Destination, check_destination
from imagequeue.egress.network import Dial, dial
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.tls import tls_context
from tests.egress.certificates import Authority

NAME = "receiver.example.com"
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
