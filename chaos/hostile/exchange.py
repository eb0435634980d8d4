"""One hostile connection: the bytes that it sends, as they are, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

ADDRESS = "127.0.0.66"
"""Where hostile connections come from: bounds of addresses and of wrong keys are counted for it alone."""
EXTRA_SECONDS = 60.0
"""After its bound an open connection is watched for so long: a process that is stopped closes nothing."""
_NARROW_BYTES = 8 * 1024
"""The receive buffer of a client that reads nothing, so that few answers fill it and the server's."""

_LOOK_SECONDS = 1.0
"""Between two looks whether a client that reads nothing is cut off."""
NO_ANSWER = 0
REFUSALS = frozenset(range(400, 500))

_LINE = re.compile(rb"http/1\.1 (?P<status>\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (?P<bytes>\d+)\r\n")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a hostile connection sends, and what it may be answered.

    Attributes:
        name: what is hostile about it.
        pieces: the bytes, in order.
        pause_seconds: between two pieces.
        allowed: statuses that it may be answered with; 503 with `Retry-After` always is.
        most_answers: one for each request that a reader may find in it.
        bound_seconds: from the connect until the server has closed the connection.
        reads: whether the client reads what it is answered.
    """

    name: str
    pieces: Iterable[bytes]
    pause_seconds: float = 0.0
    allowed: frozenset[int] = REFUSALS
    most_answers: int = 1
    bound_seconds: float = 30.0
    reads: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its status, and whether it says when to come again."""

    status: int
    retry_after: bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of a hostile connection, whose bytes are forgotten. Times are seconds since the epoch.

    `ended` is when the server had closed it; None: it was still open `EXTRA_SECONDS` after its bound.
    """

    shape: Shape
    began: float
    ended: float | None
    answers: tuple[Answer, ...]


async def exchange(port: int, shape: Shape, extra_seconds: float = EXTRA_SECONDS) -> Exchange | None:
    """Send a shape and wait until the server closes; None: there was no connection to be had."""
    began, received = time.time(), bytearray()
    try:
        reader, writer = await _connected(port, shape)
    except OSError:
        return None
    try:
        async with asyncio.timeout(shape.bound_seconds + extra_seconds):
            await _converse(reader, writer, shape, received)
        ended = time.time()
    except TimeoutError:
        ended = None
    finally:
        writer.transport.abort()
    return Exchange(replace(shape, pieces=()), began, ended, tuple(answers_in(received)))


async def _connected(port: int, shape: Shape) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket()
    connection.setblocking(False)
    try:
        if not shape.reads:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW_BYTES)
        connection.bind((ADDRESS, 0))
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=connection)
    except BaseException:
        connection.close()
        raise


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shape: Shape, received: bytearray
) -> None:
    """Send and read until the server has closed."""
    sending = asyncio.create_task(_send(writer, shape))
    try:
        if not shape.reads:
            await sending
            await _be_cut_off(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                received += data
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(writer: asyncio.StreamWriter, shape: Shape) -> None:
    with contextlib.suppress(ConnectionError):
        for piece in shape.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(shape.pause_seconds)


async def _be_cut_off(writer: asyncio.StreamWriter) -> None:
    """Wait until the server has reset the connection, without reading: a further byte finds that out."""
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(_LOOK_SECONDS)


def answers_in(received: bytes | bytearray) -> Iterator[Answer]:
    """The answers whose heads are whole. Each says the length of its body, or is the last.

    What is no answer has the status `NO_ANSWER`, and ends them.
    """
    begin = 0
    while (end := received.find(b"\r\n\r\n", begin)) >= 0:
        head = bytes(received[begin : end + 2]).lower()
        line, length = _LINE.match(head), _LENGTH.search(head)
        if line is None:
            yield Answer(NO_ANSWER, retry_after=False)
            return
        yield Answer(int(line["status"]), b"\r\nretry-after: " in head)
        begin = end + 4 + int(length["bytes"]) if length else len(received)
