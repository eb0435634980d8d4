"""Connections through an HTTP proxy, for calls to the operator's own upstreams (`IMAGEQUEUE_UPSTREAM_PROXY`).

The proxy is asked for a tunnel (CONNECT) to every upstream, and finds its name itself. What is written to the
proxy is no byte of the request: one that the proxy refuses was not sent, and may be made again. The egress
guard never uses a proxy, because the proxy, and not the guard, would choose the address.
"""

from __future__ import annotations

import base64
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpcore

from imagequeue.domain.errors import ConfigurationError
from imagequeue.egress.deadline import Deadline
from imagequeue.egress.errors import ConnectFailed, TimedOut
from imagequeue.egress.network import DeadlineNetwork
from imagequeue.egress.stream import deadline_of

_MOST_ANSWER_BYTES: Final = 16 * 1024
"""Of the answer to CONNECT: a few headers."""

_GRANTED: Final = re.compile(rb"HTTP/1\.[01] 2\d\d\b")
_END: Final = b"\r\n\r\n"
_DEFAULT_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; `authorization` is the value of its header, None: it asks for none."""

    host: str
    port: int
    authorization: str | None

    @classmethod
    def parse(cls, url: str) -> Proxy | None:
        """Read `http://user:password@host:port`; None where it is empty.

        Raises:
            ConfigurationError: it is no such URL. The message does not repeat it, because of the password.
        """
        if not url:
            return None
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or _DEFAULT_PORT
        except ValueError:
            host, port, parts = None, 0, urlsplit("")
        if parts.scheme != "http" or not host or parts.path.strip("/") or parts.query:
            raise ConfigurationError(
                "IMAGEQUEUE_UPSTREAM_PROXY: not a URL such as http://user:password@host:3128"
            )
        given = (
            None if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        )
        return cls(host, port, given and f"Basic {base64.b64encode(given.encode()).decode()}")


class TunnelNetwork(httpcore.NetworkBackend):
    """Network backend whose connections lead through a proxy, and end at the request's deadline too."""

    def __init__(self, proxy: Proxy, network: DeadlineNetwork) -> None:
        self._proxy = proxy
        self._network = network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the proxy and ask for a tunnel; `timeout` must be a `Deadline`.

        Raises:
            NameNotResolved, ConnectFailed, TimedOut: there is no tunnel, and no byte of the request was sent.
        """
        stream = self._network.connect_tcp(
            self._proxy.host, self._proxy.port, timeout, local_address, socket_options
        )
        try:
            self._open_tunnel(stream.get_extra_info("socket"), host, port, deadline_of(timeout))
        except BaseException:
            stream.close()
            raise
        return stream

    def _open_tunnel(self, sock: socket.socket, host: str, port: int, deadline: Deadline) -> None:
        end = time.monotonic() + deadline.limits.connect_seconds
        try:
            sock.settimeout(_left(deadline, end))
            sock.sendall(self._question(host, port))
            answer = _read_answer(sock, deadline, end)
        except TimeoutError as error:
            raise TimedOut("the proxy did not answer in time") from error
        except OSError as error:
            raise ConnectFailed(f"the proxy broke off: {error}") from error
        if not _GRANTED.match(answer) or not answer.endswith(_END):
            status = answer.partition(b"\r\n")[0][:100].decode("ascii", "replace")
            raise ConnectFailed(f"the proxy gives no tunnel: {status!r}")

    def _question(self, host: str, port: int) -> bytes:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


def _left(deadline: Deadline, end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return deadline.remaining(left)


def _read_answer(sock: socket.socket, deadline: Deadline, end: float) -> bytes:
    """Read up to the empty line and not one byte more: what follows is the upstream's."""
    answer = bytearray()
    while not answer.endswith(_END):
        sock.settimeout(_left(deadline, end))
        byte = sock.recv(1)
        if not byte or len(answer) >= _MOST_ANSWER_BYTES:
            break
        answer += byte
    return bytes(answer)
