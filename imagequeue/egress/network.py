"""Makes connections: looks a name up once, checks all its addresses, and connects to one of them.

A name can change between a check and a later connection. Here look-up, check and connection are one step
inside the backend that httpcore calls with the pieces of the URL, so there is no second look-up and no second
parser. If one of the addresses is not admitted, none is used: an attacker's name could mix them. Once the
connection stands, the address of the peer is compared with the one that was checked.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

import httpcore

from imagequeue.egress.addresses import IPAddress
from imagequeue.egress.deadline import Deadline
from imagequeue.egress.errors import ConnectFailed, DestinationBlocked, EgressError, TimedOut
from imagequeue.egress.policy import plain_literal
from imagequeue.egress.resolver import BoundedResolver
from imagequeue.egress.stream import DeadlineStream, deadline_of

Admission: TypeAlias = Callable[[str, int, IPAddress], bool]
Dial: TypeAlias = Callable[[IPAddress, int, float], socket.socket]

_MOST_DIALLED: Final = 4  # addresses of a name, because they share the connect limit

_SHORTEST_DIAL: Final = 0.01  # seconds; a timeout of zero would mean "do not wait" to the socket


def dial(address: IPAddress, port: int, seconds: float) -> socket.socket:
    """Open a TCP connection to `address` within `seconds`.

    Raises:
        OSError: refused, unreachable or, as TimeoutError, not in time.
    """
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)  # noqa: PLR2004
    try:
        sock.settimeout(seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


class DeadlineNetwork(httpcore.NetworkBackend):
    """Network backend whose streams end at the request's deadline.

    With `admits` it is the egress guard; without, it is for the operator's own endpoints (the catalog), which
    may have any address.
    """

    def __init__(
        self,
        resolver: BoundedResolver | None = None,
        *,
        admits: Admission | None = None,
        dial: Dial = dial,
    ) -> None:
        self._resolver = resolver or BoundedResolver()
        self._admits = admits
        self._dial = dial

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check and connect; `timeout` must be a `Deadline`.

        Raises:
            NameNotResolved, DestinationBlocked, ConnectFailed, TimedOut: none of them sent a byte.
            ValueError: the pool was made with a local address or with socket options.
        """
        if local_address is not None or socket_options is not None:
            raise ValueError("`dial` chooses the local address and the socket options, no caller does")
        deadline = deadline_of(timeout)
        addresses = self._checked_addresses(host, port, deadline)
        return DeadlineStream(self._connect_to_one_of(addresses[:_MOST_DIALLED], port, deadline))

    def _checked_addresses(self, host: str, port: int, deadline: Deadline) -> tuple[IPAddress, ...]:
        literal = plain_literal(host)
        seconds = deadline.remaining(deadline.limits.dns_seconds)
        addresses = self._resolver.resolve(host, port, seconds) if literal is None else (literal,)
        if self._admits is not None:
            for address in addresses:
                if not self._admits(host, port, address):
                    raise DestinationBlocked(f"{host} leads to {address}")
        return addresses

    def _connect_to_one_of(
        self, addresses: tuple[IPAddress, ...], port: int, deadline: Deadline
    ) -> socket.socket:
        """Try the addresses in turn, each with its share of what is left of the connect limit."""
        end = time.monotonic() + deadline.limits.connect_seconds
        failure: EgressError = ConnectFailed("no address to connect to")
        for position, address in enumerate(addresses):
            share = max(end - time.monotonic(), _SHORTEST_DIAL) / (len(addresses) - position)
            try:
                sock = self._dial(address, port, deadline.remaining(share))
            except TimeoutError as error:
                failure = TimedOut(f"connecting to {address}: {error}")
            except OSError as error:
                failure = ConnectFailed(f"connecting to {address}: {error}")
            else:
                return self._peer_checked(sock, address)
        raise failure

    def _peer_checked(self, sock: socket.socket, address: IPAddress) -> socket.socket:
        if self._admits is None:
            return sock
        try:
            peer = ip_address(sock.getpeername()[0])
        except OSError as error:
            sock.close()
            raise ConnectFailed(f"connecting to {address}: {error}") from error
        if peer != address:
            sock.close()
            raise DestinationBlocked(f"connected to {peer} instead of {address}")
        return sock
