"""A network stream of httpcore in which every wait ends at the request's deadline."""

from __future__ import annotations

import select
import socket
import ssl
from typing import Any

import httpcore

from imagequeue.egress.deadline import Deadline
from imagequeue.egress.errors import ConnectionBroken, TimedOut, TlsFailed


class DeadlineStream(httpcore.NetworkStream):
    """A connected socket. Every method that waits must be given the `Deadline` as its `timeout`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has arrived, waiting for at least one byte; empty at the end of the stream."""
        deadline = deadline_of(timeout)
        size = deadline.read_size(max_bytes)
        self._sock.settimeout(deadline.wait_to_read())
        try:
            data = self._sock.recv(size)
        except TimeoutError as error:
            raise TimedOut("the answer did not come in time", sent=deadline.sent) from error
        except OSError as error:
            raise ConnectionBroken(f"while reading: {error}", sent=deadline.sent) from error
        deadline.received(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of `buffer`.

        A peer that has closed the connection may have answered before (413, 401). httpcore reads that answer
        after its own WriteError, and after no other error, so a failure is raised as one.
        """
        deadline = deadline_of(timeout)
        view = memoryview(buffer)
        while view:
            self._sock.settimeout(deadline.remaining())
            try:
                view = view[self._send(view, deadline) :]
            except TimeoutError as error:
                raise TimedOut("the request could not be written in time", sent=deadline.sent) from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def _send(self, view: memoryview, deadline: Deadline) -> int:
        if isinstance(self._sock, ssl.SSLSocket):
            deadline.sent = True  # a TLS record may have left in part although the call fails
        count = self._sock.send(view)
        deadline.sent = True
        return count

    def close(self) -> None:
        """Close the socket; idempotent."""
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Do the handshake for `server_hostname`, the name in the URL, never the address dialled."""
        deadline = deadline_of(timeout)
        try:
            self._sock.settimeout(deadline.remaining(deadline.limits.connect_seconds))
            return DeadlineStream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname))
        except TimeoutError as error:
            self.close()
            raise TimedOut("the TLS handshake did not end in time", sent=False) from error
        except (OSError, ValueError) as error:
            self.close()
            raise TlsFailed(f"TLS handshake: {error}", sent=False) from error

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks: whether an idle connection has something to read, and the TLS object."""
        match info:
            case "is_readable":
                return _is_readable(self._sock)
            case "ssl_object":
                return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
            case "server_addr":
                return self._sock.getpeername()
            case "client_addr":
                return self._sock.getsockname()
            case "socket":
                return self._sock
            case _:
                return None


def deadline_of(timeout: float | None) -> Deadline:
    """Return `timeout`, which must be a `Deadline`: without one a request could wait for ever."""
    if not isinstance(timeout, Deadline):
        raise TypeError("a request over this network needs a Deadline as its timeouts")
    return timeout


def _is_readable(sock: socket.socket) -> bool:
    """Whether a read would not wait. On an idle connection that means: the peer closed it."""
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
