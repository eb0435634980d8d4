"""Requests to addresses that clients, or the answers of upstreams, choose.

Each request has its own connection: its name is looked up and its addresses are checked every time, so a name
that has come to lead to a private address is refused. No redirects (`redirects.py` follows those of images),
no proxies or credentials from the environment, HTTP/1.1 only. Nothing is decoded, because 65 kB of gzip can
become 64 MiB: the request asks for `identity`, and the body is taken as the raw bytes that come.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Final

import httpcore

from imagequeue.egress.answers import Download, Head, Receipt
from imagequeue.egress.deadline import HEAD_READ, Deadline, Limits
from imagequeue.egress.errors import BodyTooLarge, EgressError
from imagequeue.egress.grammar import Destination, Purpose, check_destination
from imagequeue.egress.network import DeadlineNetwork, Dial, dial
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.spool import spooled
from imagequeue.egress.tls import public_tls_context
from imagequeue.egress.translation import translated_errors

WEBHOOK_LIMITS: Final = Limits()
DOWNLOAD_LIMITS: Final = Limits(total_seconds=60.0)  # an image is larger than a webhook's answer
RAW_BYTES_READ: Final = 16 * 1024  # of the body of a webhook's answer, framing included
EXCERPT_BYTES: Final = 4 * 1024  # of those, for the delivery log

_OWN_HEADERS: Final = frozenset(
    {"host", "user-agent", "accept-encoding", "connection", "content-length", "transfer-encoding"}
)


class GuardedClient:
    """The one door to URLs that somebody else chose. Shared by threads; holds nothing open.

    `destination` checks a URL, and the connection checks its addresses, both by the same `policy`.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        user_agent: str,
        tls: ssl.SSLContext | None = None,
        resolver: BoundedResolver | None = None,
        dial: Dial = dial,
    ) -> None:
        self.policy = policy
        self._network = DeadlineNetwork(resolver, admits=policy.admits, dial=dial)
        self._user_agent = user_agent
        self._tls = tls or public_tls_context()

    def destination(self, url: str, purpose: Purpose = Purpose.WEBHOOK) -> Destination:
        """Apply every rule that needs no name look-up.

        Raises:
            DestinationRefused: with a short reason for the client.
        """
        return check_destination(url, self.policy, purpose)

    def post(
        self,
        destination: Destination,
        body: bytes,
        headers: Mapping[str, str],
        *,
        limits: Limits = WEBHOOK_LIMITS,
    ) -> Receipt:
        """Send one POST and return as soon as the status and the first bytes of the answer are there.

        Raises:
            EgressError: no status came; its `code` and `sent` say what happened.
            ValueError: `headers` contains one that this client sets itself.
        """
        deadline = Deadline.starting_now(limits)
        with self._answer("POST", destination, body, headers, deadline) as response:
            deadline.expect_body(RAW_BYTES_READ - HEAD_READ)
            head = _head(response)
            excerpt = _read_excerpt(response, deadline)
        return Receipt(head.status, head.headers, excerpt)

    def download(
        self,
        destination: Destination,
        *,
        max_bytes: int,
        limits: Limits = DOWNLOAD_LIMITS,
    ) -> Download:
        """Send one GET and spool the whole body of a 2xx answer (memory up to 1 MiB, then disk).

        Raises:
            BodyTooLarge: the body has more than `max_bytes`.
            EgressError: there is no complete answer.
        """
        deadline = Deadline.starting_now(limits)
        with self._answer("GET", destination, b"", {}, deadline) as response:
            deadline.expect_body()
            head = _head(response)
            if not 200 <= head.status < 300:  # noqa: PLR2004 -- the 2xx class
                return Download(head.status, head.headers, spooled((), 0))
            _check_announced_length(head, max_bytes)
            with translated_errors(deadline):
                file = spooled(_chunks(response), max_bytes)
        return Download(head.status, head.headers, file)

    @contextmanager
    def _answer(
        self,
        method: str,
        destination: Destination,
        body: bytes,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> Generator[httpcore.Response]:
        """Connect, send, and yield the answer with its body unread; the connection ends with the block."""
        request = httpcore.Request(
            method,
            httpcore.URL(
                scheme=destination.scheme.encode(),
                host=destination.host.encode(),
                port=destination.port,
                target=destination.target.encode(),
            ),
            headers=self._headers(destination, body, headers),
            content=body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), deadline)},
        )
        connection = httpcore.HTTPConnection(
            request.url.origin, ssl_context=self._tls, network_backend=self._network
        )
        with closing(connection):
            with translated_errors(deadline):
                response = connection.handle_request(request)
            yield response

    def _headers(
        self, destination: Destination, body: bytes, headers: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        if taken := _OWN_HEADERS.intersection(name.lower() for name in headers):
            raise ValueError(f"headers set by the client itself: {', '.join(sorted(taken))}")
        own = [
            ("Host", destination.authority),
            ("User-Agent", self._user_agent),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        if body:
            own.append(("Content-Length", str(len(body))))
        return [*own, *headers.items()]


def _head(response: httpcore.Response) -> Head:
    headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers
    )
    return Head(response.status, headers)


def _chunks(response: httpcore.Response) -> Iterator[bytes]:
    """Yield the body without its framing, otherwise as it came."""
    yield from response.iter_stream()


def _read_excerpt(response: httpcore.Response, deadline: Deadline) -> bytes:
    """Read at most `RAW_BYTES_READ`, return at most `EXCERPT_BYTES`; a body may break off before."""
    excerpt = bytearray()
    with suppress(EgressError), translated_errors(deadline):  # the status has arrived, and it is the answer
        for chunk in _chunks(response):
            excerpt += chunk[: EXCERPT_BYTES - len(excerpt)]
    return bytes(excerpt)


def _check_announced_length(head: Head, max_bytes: int) -> None:
    """Refuse a body that announces too many bytes; one that announces fewer is stopped while it is read."""
    announced = head.header("content-length")
    if announced is not None and announced.isdecimal() and int(announced) > max_bytes:
        raise BodyTooLarge(f"the body announces {announced} bytes, more than {max_bytes}", sent=True)
