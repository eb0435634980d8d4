"""Flow control of a connection in both directions: when it is not read, and whether its client reads."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from api.edge.bodies import BodyClock

_LEAST_BYTES = 16 * 1024
"""What a client must take of a waiting answer in each `stall_seconds`, of the 64 KiB of a transport."""


class EdgeFlow(FlowControl):
    """uvicorn's flow control, which also stops the clock of a body, and holds back further requests.

    Times are those of the event loop, in seconds.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, stall_seconds: float
    ) -> None:
        super().__init__(transport)
        self._loop = loop
        self._stall_seconds = stall_seconds
        self._unwritten: tuple[float, int] | None = None
        self.clock: BodyClock | None = None
        self.held = False
        """More waits than may: the socket is not read, whoever asks for it, until the answer is written."""

    def pause_reading(self) -> None:
        """Stop reading."""
        if self.clock is not None:
            self.clock.pause(self._loop.time())
        super().pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.held:
            return
        if self.clock is not None:
            self.clock.resume(self._loop.time())
        super().resume_reading()

    def stalls(self) -> bool:
        """Whether the client has taken too little of an answer that waits for it.

        Asked again and again, it compares moments that are `stall_seconds` apart, or more.
        """
        if not (self.write_paused or self._transport.is_closing()):
            self._unwritten = None
            return False
        now, size = self._loop.time(), self._transport.get_write_buffer_size()
        since, before = self._unwritten or (now, size)
        if now - since < self._stall_seconds:
            self._unwritten = since, before
            return False
        self._unwritten = now, size
        return size > before - _LEAST_BYTES
