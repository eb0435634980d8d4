"""A TCP server that does with each connection what a function says: what real upstreams do at their worst."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Generator

Script = Callable[[socket.socket], None]


@contextlib.contextmanager
def scripted_server(script: Script) -> Generator[str]:
    """Run `script` on every connection, each in a thread; yields the address as `http://host:port`."""
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_accept, args=(listener, script))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(120)


def _accept(listener: socket.socket, script: Script) -> None:
    runners: list[threading.Thread] = []
    with contextlib.suppress(OSError):  # the listener was closed: the test is over
        while True:
            connection, _ = listener.accept()
            runner = threading.Thread(target=_run, args=(connection, script))
            runner.start()
            runners.append(runner)
    for runner in runners:
        runner.join(120)


def _run(connection: socket.socket, script: Script) -> None:
    with connection, contextlib.suppress(OSError):  # the client left first
        connection.settimeout(10)
        script(connection)


def read_request(connection: socket.socket) -> bytes:
    """Read one request with a Content-Length to its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    wanted = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < wanted:
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise OSError("the client closed the connection")
    return data


def answer(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """An HTTP answer; `length` may lie about the body's."""
    announced = len(body) if length is None else length
    lines = (f"HTTP/1.1 {status} X", f"Content-Length: {announced}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def until_closed(connection: socket.socket) -> None:
    """Wait for the client to leave."""
    while connection.recv(65536):
        pass


def reset(connection: socket.socket) -> None:
    """Close with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
