"""Row `edge`: what strangers without a key cost an API process, in memory and in the time of everybody else.

Each attack is sent by raw sockets while another client asks `/healthz` again and again on a connection of its
own; the longest of its waits counts, beside the longest of a quiet time.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.api import Api, start_api
from bench.stack import KEY, deployment, running
from bench.table import Line

MODEL = "microsoft-mai-image-2-5"
MIB = 1024 * 1024
MEMORY_MB = 64.0
"""More of it than before: what all unread bytes of a process may be."""
PATIENCE_SECONDS = 60.0
QUIET_SECONDS = 5.0
PAUSE_SECONDS = 0.01
RESET_PEAK = "5"
"""What makes the kernel count a process's peak of memory anew (proc(5), `clear_refs`)."""
BOUND_SECONDS = 25.0
"""After which nothing silent may be open: a body has 20 s for its first bytes, a head 10 s."""

LINE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /v1/images/generations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SILENT = {
    "nothing": b"",
    "half a line": b"GET /hea",
    "half a head": LINE,
    "half a body": b"POST /v1/images/generations HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nhalf",
    "half the chunks": POST + b"5\r\nhel",
}


@dataclass(slots=True)
class Bystander:
    """A client that asks again and again; `waits` are the seconds of each answer."""

    port: int
    waits: list[float] = field(default_factory=list[float])

    @contextlib.contextmanager
    def asking(self) -> Generator[None]:
        """Ask while the context is open."""
        done = threading.Event()
        thread = threading.Thread(target=self._ask, args=[done])
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _ask(self, done: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            while not done.wait(PAUSE_SECONDS):
                began = time.monotonic()
                connection.sendall(LINE + b"\r\n")
                if not connection.recv(65_536):
                    raise RuntimeError("the bystander was cut off")
                self.waits.append(time.monotonic() - began)


def run() -> list[Line]:
    """Measure each attack at one process."""
    with running(_upstreams(), [MODEL], deployment("east", MODEL, 60)) as stack:
        api = start_api(stack)
        lines = [line for what, attack in ATTACKS.items() for line in _measured(api, what, attack)]
        return [*lines, *_still_open(api)]


def _measured(api: Api, what: str, attack: Callable[[int], None]) -> Iterator[Line]:
    Path(f"/proc/{api.process.pid}/clear_refs").write_text(RESET_PEAK, "ascii")
    before, bystander = api.memory("VmRSS"), Bystander(api.port)
    with bystander.asking():
        attack(api.port)
    more = api.memory("VmHWM") - before
    longest = f"{max(bystander.waits) * 1000:.0f} ms"
    yield Line(
        "edge", f"{what}: memory of the process", f"+{more:.0f} MB", f"+{MEMORY_MB:.0f} MB", more < MEMORY_MB
    )
    yield Line("edge", f"{what}: longest wait of others", longest)


def _still_open(api: Api) -> Iterator[Line]:
    """Which of the silent connections are open after their bound."""
    with ExitStack() as closing:
        connections = {
            what: closing.enter_context(socket.create_connection(("127.0.0.1", api.port))) for what in SILENT
        }
        for what, connection in connections.items():
            connection.sendall(SILENT[what])
        until = time.monotonic() + BOUND_SECONDS
        open_still = [what for what, one in connections.items() if not _closed(one, until)]
    what = f"silent connections that are open after {BOUND_SECONDS:.0f} s"
    yield Line("edge", what, ", ".join(open_still) or "none", "none", not open_still)


def _closed(connection: socket.socket, until: float) -> bool:
    try:
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65_536):
                return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


def _quiet(port: int) -> None:
    del port
    time.sleep(QUIET_SECONDS)


def _sent(port: int, *pieces: bytes) -> None:
    """Send on one connection, and read until it ends, or until nothing has come for a while."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        reading = threading.Thread(target=_read, args=[connection])
        reading.start()
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        reading.join()


def _read(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(65_536):
            pass


def _header_lines(port: int) -> None:
    lines = b"".join(b"x-%d: a\r\n" % number for number in range(MIB // 12))
    _sent(port, LINE, *(lines for _ in range(20 * MIB // len(lines))))


def _pipelined(port: int) -> None:
    _sent(port, (LINE + b"\r\n") * (6 * MIB // (len(LINE) + 2)))


def _small_chunks(port: int) -> None:
    _sent(port, POST, b"1\r\na\r\n" * MIB, b"0\r\n\r\n")


def _half_heads(port: int) -> None:
    """A thousand connections, each with a head that is nearly as long as it may be."""
    with ExitStack() as closing:
        for _ in range(1000):
            connection = closing.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(ConnectionError):
                connection.sendall(LINE + b"a: " + b"b" * 60_000)


ATTACKS: dict[str, Callable[[int], None]] = {
    "quiet": _quiet,
    "20 MiB of header lines": _header_lines,
    "6 MiB of pipelined requests": _pipelined,
    "6 MiB of chunks of one byte": _small_chunks,
    "1,000 heads of 60 KB without end": _half_heads,
}


def _upstreams() -> dict[str, object]:
    return {"east": {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": 60}}}}
