"""An httpx transport for the operator's own endpoints: unguarded, one total deadline per request.

The deadline is an instant on the monotonic clock in `request.extensions["deadline"]`. It holds for the
look-up, the handshake, the request and the whole body. The trace extension works as in httpx; its event
`http11.send_request_body.complete` says that the last byte of the request was handed to the system.

Each request has a connection of its own, which ends with the answer. A reused one may be closed by its server
after its next request was begun; then it is unknown whether an image was paid for. Nor does a request wait
for a connection: how many there are is decided by those who send them, before their start is granted.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, cast

import httpcore
import httpx

from imagequeue.egress.deadline import Deadline, Limits
from imagequeue.egress.network import DeadlineNetwork
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.tls import public_tls_context
from imagequeue.egress.translation import translated_errors
from imagequeue.egress.tunnel import Proxy, TunnelNetwork

# The total comes with each request; an upstream may need all of it until the first byte of its answer.
UPSTREAM_LIMITS: Final = Limits(
    total_seconds=180.0,
    dns_seconds=5.0,
    connect_seconds=10.0,
    first_byte_seconds=float("inf"),
    header_bytes=64 * 1024,
)


class DeadlineTransport(httpx.BaseTransport):
    """A connection for every request, each of which needs a deadline. Thread-safe; holds nothing open.

    Every failure is an `EgressError`, which is an `httpx.TransportError`; its `sent` says whether a byte of
    the request may have left.
    """

    def __init__(self, network: httpcore.NetworkBackend, tls: ssl.SSLContext) -> None:
        self._network = network
        self._tls = tls

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` and return its answer with the body unread.

        Raises:
            EgressError: no answer came by the deadline.
            TypeError: the request has no `deadline` extension.
        """
        deadline = self._deadline(request)
        asked = _request(request, deadline)
        connection = httpcore.HTTPConnection(
            asked.url.origin, ssl_context=self._tls, network_backend=self._network
        )
        try:
            with translated_errors(deadline):
                response = connection.handle_request(asked)
        except BaseException:
            connection.close()
            raise
        deadline.expect_body()
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_DeadlineBody(connection, response, deadline),
            extensions=cast("dict[str, object]", response.extensions),
        )

    def _deadline(self, request: httpx.Request) -> Deadline:
        instant = request.extensions.get("deadline")
        if not isinstance(instant, int | float):
            raise TypeError("request.extensions['deadline'] must be an instant on the monotonic clock")
        return Deadline(float(instant), UPSTREAM_LIMITS)


class _DeadlineBody(httpx.SyncByteStream):
    """The body of an answer; its end is that of the connection."""

    def __init__(
        self, connection: httpcore.HTTPConnection, response: httpcore.Response, deadline: Deadline
    ) -> None:
        self._connection = connection
        self._response = response
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        with translated_errors(self._deadline):
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._connection.close()


def deadline_transport(
    *,
    tls: ssl.SSLContext | None = None,
    resolver: BoundedResolver | None = None,
    proxy: Proxy | None = None,
) -> DeadlineTransport:
    """Make the transport. `UPSTREAM_LIMITS.total_seconds` is not used: the total comes with each request."""
    network = DeadlineNetwork(resolver)
    return DeadlineTransport(TunnelNetwork(proxy, network) if proxy else network, tls or public_tls_context())


def deadline_client(proxy: Proxy | None = None) -> httpx.Client:
    """A client with this transport, which heeds no variable of the environment.

    It keeps no cookie of an upstream, because the calls of all accounts go through it.
    """
    nowhere = DefaultCookiePolicy(allowed_domains=[])
    transport = deadline_transport(proxy=proxy)
    return httpx.Client(transport=transport, trust_env=False, cookies=CookieJar(nowhere))


def _request(request: httpx.Request, deadline: Deadline) -> httpcore.Request:
    timeouts = dict.fromkeys(("connect", "read", "write"), deadline)
    return httpcore.Request(
        request.method,
        httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        ),
        headers=request.headers.raw,
        content=cast("httpx.SyncByteStream", request.stream),
        extensions={**request.extensions, "timeout": timeouts},
    )
