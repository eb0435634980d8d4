"""`python -m bench.load_client`: requests over connections that stay open, one at a time on each.

It reads one JSON object: `port`, `requests` (texts, sent in turn), `connections`, and `seconds` or `count`.
It writes one: how many were `done` and `failed` (no 2xx), in how many `seconds`.
A process of its own on raw bytes, so that it takes less of the machine than what it measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle
from typing import TypedDict, cast

import uvloop

from bench.counterparts import content_length


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What to send, over how many connections. `seconds` or `count` ends it, whichever comes first."""

    port: int
    requests: list[str]
    connections: int
    seconds: float
    count: int


class LoadResult(TypedDict):
    """What has come of it: how many answers, how many of them no 2xx, in how many seconds."""

    done: int
    failed: int
    seconds: float


@dataclass(slots=True)
class Load:
    """The requests that are left, and the answers that have come."""

    order: LoadOrder
    ended: asyncio.Future[None]
    began: float
    sent: int = 0
    open: int = 0
    failed: int = 0
    done: int = 0

    def __post_init__(self) -> None:
        self._requests = cycle([request.encode() for request in self.order.requests])

    _requests: cycle[bytes] = field(init=False)

    def next(self) -> bytes | None:
        """The next request; None: there is no more to send."""
        if self.sent >= self.order.count or time.perf_counter() - self.began > self.order.seconds:
            return None
        self.sent += 1
        return next(self._requests)

    def take(self, *, ok: bool) -> None:
        """Count an answer."""
        self.done += 1
        self.failed += not ok

    def end_one(self) -> None:
        """A connection has nothing more to send."""
        self.open -= 1
        if not self.open and not self.ended.done():
            self.ended.set_result(None)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._load.open += 1
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take an answer when it is whole, and send the next request."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        if len(self._received) < end + 4 + content_length(self._received[:end].decode("latin-1")):
            return
        ok = bytes(self._received[9:10]) == b"2"
        self._received.clear()
        self._load.take(ok=ok)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count as failed what was not answered."""
        del exc
        if self._transport is not None:
            self._load.failed += 1
            self._load.end_one()

    def _send(self) -> None:
        request = self._load.next()
        if self._transport is None or request is None:
            self._finish()
            return
        self._transport.write(request)

    def _finish(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
            self._load.end_one()


async def _run(order: LoadOrder) -> LoadResult:
    loop = asyncio.get_running_loop()
    load = Load(order, loop.create_future(), time.perf_counter())
    load.open = 1  # until all are connected
    for _ in range(order.connections):
        await loop.create_connection(lambda: Client(load), "127.0.0.1", order.port)
    load.end_one()
    await load.ended
    seconds = time.perf_counter() - load.began
    return {"done": load.done, "failed": load.failed, "seconds": seconds}


if __name__ == "__main__":
    json.dump(uvloop.run(_run(LoadOrder(**json.load(sys.stdin)))), sys.stdout)
