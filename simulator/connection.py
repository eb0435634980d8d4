"""The TCP connection under an ASGI call: bodies, waits that end when the client leaves, and real resets.

A reset needs the transport, which ASGI hides: SO_LINGER with zero seconds makes the kernel send RST and drop
what was not sent. So the server's protocol class puts the transport into the state of the scope.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any, Self

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT = "simulator_transport"
_LINGER_ZERO = struct.pack("ii", 1, 0)
_LOOK_SECONDS = 0.1  # while the body is not read no event tells that the client has left
MAX_BODY_BYTES = 64 * 1024 * 1024
"""A larger request is answered 413, so that no call fills the memory."""


class ConnectionProtocol(HttpToolsProtocol):
    """uvicorn's protocol that lets the application reach its transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Remember the transport for the calls of this connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


class ClientGoneError(Exception):
    """The client closed the connection, or the simulator reset it, so no answer can be sent."""


class BodyTooLargeError(Exception):
    """The request body exceeds 64 MiB."""


class Connection:
    """The connection of one call. An async context manager, which ends the tasks that it started."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._gone: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._gone is not None:
            self._gone.cancel()
            await asyncio.wait({self._gone})

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; raises RuntimeError under a server without `ConnectionProtocol`."""
        state: dict[str, Any] = self._scope.get("state", {})
        if _TRANSPORT not in state:
            raise RuntimeError("resets need a server that runs simulator.connection.ConnectionProtocol")
        return state[_TRANSPORT]

    async def body(self) -> bytes:
        """The whole request body. Raises ClientGoneError and BodyTooLargeError."""
        body, more = bytearray(), True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                raise BodyTooLargeError
        return bytes(body)

    async def pause(self, seconds: float | None) -> None:
        """Wait after the body was read; None waits for ever. Raises ClientGoneError if the client leaves."""
        if seconds == 0:
            return
        done, _ = await asyncio.wait({self._departure()}, timeout=seconds)
        if done:
            raise ClientGoneError

    async def pause_unread(self, seconds: float | None) -> None:
        """Wait without reading the body, which stays in the kernel's buffers; None waits for ever.

        Raises ClientGoneError if the client leaves.
        """
        loop = asyncio.get_running_loop()
        end = float("inf") if seconds is None else loop.time() + seconds
        while (left := end - loop.time()) > 0:
            if self.transport.is_closing():
                raise ClientGoneError
            await asyncio.sleep(min(left, _LOOK_SECONDS))

    async def reset(self) -> None:
        """Send a TCP reset. Always raises ClientGoneError."""
        transport = self.transport
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()
        await asyncio.wait({self._departure()})
        raise ClientGoneError

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the answer. Without a content-length among the headers the body is chunked."""
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, chunk: bytes, *, more: bool) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    def _departure(self) -> asyncio.Task[None]:
        if self._gone is None:
            self._gone = asyncio.create_task(self._disconnected())
        return self._gone

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
