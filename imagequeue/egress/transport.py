"""An httpx transport for the operator's own endpoints: unguarded, one total deadline per request.

The deadline is an instant on the monotonic clock in `request.extensions["deadline"]`. It holds for the wait
for a connection, for the look-up, the handshake, the request and the whole body. A connection that is reused
has the deadline of the request that uses it now, as `deadline.py` explains. The trace extension works as in
httpx; its event `http11.send_request_body.complete` says that the last byte of the request was handed to the
system.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
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

_IDLE_SECONDS: Final = 15.0
"""How long a connection may be idle: less than servers and load balancers allow, which is often 60 s."""


class DeadlineTransport(httpx.BaseTransport):
    """Connection pool in which every request needs a deadline. Thread-safe; close it with the process.

    Every failure is an `EgressError`, which is an `httpx.TransportError`; its `sent` says whether a byte of
    the request may have left.
    """

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` and return its answer with the body unread.

        Raises:
            EgressError: no answer came by the deadline.
            TypeError: the request has no `deadline` extension.
        """
        deadline = self._deadline(request)
        with translated_errors(deadline):
            response = self._pool.handle_request(_pool_request(request, deadline))
        deadline.expect_body()
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_DeadlineBody(response, deadline),
            extensions=cast("dict[str, object]", response.extensions),
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def _deadline(self, request: httpx.Request) -> Deadline:
        instant = request.extensions.get("deadline")
        if not isinstance(instant, int | float):
            raise TypeError("request.extensions['deadline'] must be an instant on the monotonic clock")
        return Deadline(float(instant), UPSTREAM_LIMITS)


class _DeadlineBody(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response, deadline: Deadline) -> None:
        self._response = response
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        with translated_errors(self._deadline):
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


def deadline_transport(
    *,
    max_connections: int = 512,
    max_idle: int = 0,
    tls: ssl.SSLContext | None = None,
    resolver: BoundedResolver | None = None,
    proxy: Proxy | None = None,
) -> DeadlineTransport:
    """Make the transport. `UPSTREAM_LIMITS.total_seconds` is not used: the total comes with each request.

    No connection is reused unless `max_idle` allows it. A reused one may be closed by its server, or by
    another thread's pass over the pool (seen with httpcore 1.0.9: a read met a closed descriptor), after its
    next request was begun; then it is unknown whether an image was paid for.
    """
    network = DeadlineNetwork(resolver)
    pool = httpcore.ConnectionPool(
        ssl_context=tls or public_tls_context(),
        max_connections=max_connections,
        max_keepalive_connections=max_idle,
        keepalive_expiry=_IDLE_SECONDS,
        network_backend=TunnelNetwork(proxy, network) if proxy else network,
    )
    return DeadlineTransport(pool)


def _pool_request(request: httpx.Request, deadline: Deadline) -> httpcore.Request:
    wait = deadline.remaining()
    timeouts = {"connect": deadline, "read": deadline, "write": deadline, "pool": wait}
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
