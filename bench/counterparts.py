"""`python -m bench.counterparts`: the upstream, the bucket and the webhook receiver of the rows.

They do as little as they can, because they run on the machine that is measured: a loop on raw bytes, no
framework. An image is always the same; a call is answered at once, or, after `GET /_hold`, at `GET /_open`.

The bucket honours `If-None-Match: *` and forgets the bytes of large objects.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import cast

from PIL import Image

SMALL_SIDE, LARGE_BYTES = 64, 1_500_000
"""Of the small image, in pixels; of the large one, whose noise does not compress."""
_REMEMBERED_BYTES = 4096
"""Objects up to this size can be read back: the probes of the storage check."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Counterparts:
    """What has come so far. `called` has the arrival (`time.monotonic`) of each call, by its prompt."""

    small: bytes
    large: bytes
    called: dict[str, float] = field(default_factory=dict[str, float])
    calls: int = 0
    webhooks: int = 0
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    held: list[Connection] | None = None

    def answer(self, connection: Connection, head: str, body: bytes) -> bytes | None:
        """The answer to a request; None: it is held."""
        method, path, _ = head.split(" ", 2)
        if path.endswith("/images/generations"):
            return self._call(connection, body)
        if path.startswith("/hooks"):
            self.webhooks += 1
            return _response(200)
        if path.startswith("/_"):
            return self._control(path)
        return self._object(method, path, head, body)

    def _call(self, connection: Connection, body: bytes) -> bytes | None:
        self.calls += 1
        self.called[json.loads(body)["prompt"]] = time.monotonic()
        if self.held is not None:
            self.held.append(connection)
            return None
        return self.small

    def _control(self, path: str) -> bytes:
        if path == "/_hold":
            self.held = []
        elif path == "/_open":
            held, self.held = self.held or [], None
            for connection in held:
                connection.tell(self.large)
        elif path == "/_reset":
            self.calls = self.webhooks = 0
            self.called.clear()
            self.objects.clear()
        counts = {"calls": self.calls, "webhooks": self.webhooks, "held": len(self.held or ())}
        return _response(200, json.dumps(counts | {"called": self.called}).encode())

    def _object(self, method: str, path: str, head: str, body: bytes) -> bytes:
        key = path.partition("?")[0]
        if method == "PUT":
            if key in self.objects and "if-none-match" in head.lower():
                return _response(412, b"<Error><Code>PreconditionFailed</Code></Error>", "application/xml")
            self.objects[key] = body if len(body) <= _REMEMBERED_BYTES else b""
            return _response(200, more='ETag: "0123456789abcdef0123456789abcdef"\r\n')
        if method == "DELETE":
            self.objects.pop(key, None)
            return _response(204)
        if key in self.objects and method in ("GET", "HEAD"):
            return _response(200, self.objects[key] if method == "GET" else b"")
        return _response(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")


class Connection(asyncio.Protocol):
    """One connection: whole requests out of its bytes, one after the other."""

    def __init__(self, counterparts: Counterparts) -> None:
        self._counterparts = counterparts
        self._received = bytearray()
        self._continued = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what is written to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].decode("latin-1")
            size = content_length(head)
            if len(self._received) < end + 4 + size:
                self._continue(head)
                return
            body = bytes(self._received[end + 4 : end + 4 + size])
            del self._received[: end + 4 + size]
            self._continued = False
            if (answer := self._counterparts.answer(self, head, body)) is not None:
                self.tell(answer)

    def tell(self, answer: bytes) -> None:
        """Write an answer."""
        if self._transport is not None:
            self._transport.write(answer)

    def _continue(self, head: str) -> None:
        if not self._continued and "100-continue" in head.lower():
            self._continued = True
            self.tell(_CONTINUE)


def content_length(head: str) -> int:
    """The length of the body that a head tells; 0 without one."""
    _, found, rest = head.lower().partition("\r\ncontent-length:")
    return int(rest.partition("\r\n")[0]) if found else 0


def _response(status: int, body: bytes = b"", media_type: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status} -\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def _generated(image: bytes) -> bytes:
    data = [{"b64_json": base64.b64encode(image).decode()}]
    return _response(200, json.dumps({"created": 1, "data": data}).encode())


def _png(side: int, *, noisy: bool) -> bytes:
    content = random.Random(1).randbytes(side * side * 3) if noisy else bytes(side * side * 3)  # noqa: S311  # noise
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), content).save(file, "PNG")
    return file.getvalue()


async def _serve() -> None:
    noisy = _png(int((LARGE_BYTES / 3) ** 0.5), noisy=True)
    counterparts = Counterparts(_generated(_png(SMALL_SIDE, noisy=False)), _generated(noisy))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counterparts), sock=listener, backlog=2048)
    sys.stdout.write(f"counterparts http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
