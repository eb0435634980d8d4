"""What the grammar takes, every other parser reads as the same host and port, and so does the connection."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st

from imagequeue.domain.errors import DestinationRefused
from imagequeue.egress.addresses import IPAddress, is_public
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import DestinationBlocked, EgressError
from imagequeue.egress.grammar import Destination, Purpose, check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.tls import tls_context

POLICY = EgressPolicy()
TLS = tls_context()
LIMITS = Limits(total_seconds=60.0)

_DELIMITERS = [
    "https://",
    "http://",
    "HTTPS://",
    "//",
    "/",
    "\\",
    "@",
    ":",
    "?",
    "#",
    "[",
    "]",
    "..",
    ".",
    "&",
]
_HOSTS = ["127.0.0.1", "0x7f.1", "2130706433", "[::1]", "localhost", "example.com", "EXAMPLE.com", "xn--p1ai"]
_ODD = ["\t", "\n", " ", "\u3002", "\uff0f", "\u2488", "%2e", "%00", "443", "8443", "80", "user", "=", ";"]
_PIECES = st.sampled_from([*_DELIMITERS, *_HOSTS, *_ODD])
URLS = st.one_of(
    st.lists(_PIECES, max_size=9).map("".join),
    st.lists(_PIECES, max_size=7).map(lambda pieces: "https://" + "".join(pieces)),
    st.builds(
        "https://{}.{}:{}/{}".format, st.text(max_size=12), st.text(max_size=9), st.integers(), st.text()
    ),
    st.builds(
        "https://{}.example{}/{}".format,
        st.from_regex(r"[a-zA-Z0-9-]{1,20}", fullmatch=True),
        st.sampled_from(["", ":443", ":8443"]),
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30),
    ),
)


def _taken(url: str, purpose: Purpose) -> Destination:
    try:
        return check_destination(url, POLICY, purpose)
    except DestinationRefused:
        assume(False)
        raise


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # what the validator refuses is no example
@given(URLS, st.sampled_from(Purpose))
@example("https://hooks.example.com:8443/a?b=@c:1//d", Purpose.WEBHOOK)
@example("https://hooks.example.com/x|{}[]", Purpose.WEBHOOK)
def test_all_parsers_read_the_same_host(url: str, purpose: Purpose) -> None:
    taken = _taken(url, purpose)
    event("taken")
    parts = urlsplit(url)
    default = 443 if taken.scheme == "https" else 80
    assert (parts.scheme, parts.hostname, parts.port or default) == taken.origin
    seen = httpx.URL(url)
    assert (seen.scheme, seen.host, seen.port or default) == taken.origin
    assert _asked_for(taken) == [(taken.host, taken.port)]


def _asked_for(destination: Destination) -> list[tuple[str, int]]:
    """Which name the connection looks up."""
    asked = list[tuple[str, int]]()

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    client = GuardedClient(POLICY, user_agent="test", tls=TLS, resolver=BoundedResolver(resolve))
    with pytest.raises(DestinationBlocked):
        client.post(destination, b"{}", {}, limits=LIMITS)
    return asked


@given(st.ip_addresses())
def test_an_address_is_dialled_only_if_it_is_public(address: IPAddress) -> None:
    dialled = list[IPAddress]()

    def dial(to: IPAddress, port: int, seconds: float) -> socket.socket:
        del port, seconds
        dialled.append(to)
        raise ConnectionRefusedError("no network in this test")

    def resolve(host: str, port: int) -> Sequence[str]:
        del host, port
        return [str(address)]

    resolver = BoundedResolver(resolve)
    client = GuardedClient(POLICY, user_agent="test", tls=TLS, resolver=resolver, dial=dial)
    with suppress(EgressError):
        client.post(check_destination("https://hooks.example.com/", POLICY), b"{}", {}, limits=LIMITS)
    assert dialled == ([address] if is_public(address) else [])
