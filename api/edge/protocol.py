"""The protocol of a connection: uvicorn's, behind checks and bounds of our own.

uvicorn gives whatever arrives to its parser, which has no bound: a head may grow without end, and a thousand
pipelined requests become a thousand objects. Here bytes wait, as they came, until there is one complete head;
it is checked against the grammar (`heads.py`) and given to the parser, then the body up to its end
(`bodies.py`), and nothing further until the answer is written. So a connection holds one request, and some
bytes that nobody has looked at. The parser has to agree where each request ends, or the connection is closed.

A connection is always in one `Phase`, and each phase has its time. A connection has one timer, which is not
moved while requests come and go in time: when it fires it looks what is due, and is set again.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.edge.bodies import Body, BodyClock, ChunkedBody, CountedBody
from api.edge.flow import EdgeFlow
from api.edge.heads import HeadReader, RequestRefused, framing_of
from api.edge.shared import Edge
from api.edge.timer import ConnectionTimer


class Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()  # a whole head, or the first byte of one
    BODY = auto()  # the rest of a body, whether or not the request is answered already
    ANSWER = auto()  # the app
    REFUSED = auto()  # the client, which shall read why


class EdgeProtocol(HttpToolsProtocol):
    """One connection."""

    _flow: EdgeFlow  # uvicorn's `flow`, by its own type

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        edge: Edge,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._edge = edge
        self._limits = edge.limits
        self._address: str | None = None  # as it was counted
        self._phase = Phase.HEAD
        self._unread = bytearray()
        self._unread_counted = 0
        self._heads = HeadReader(edge.limits)
        self._head_began = True  # the first one begins with the connect
        self._body: Body = CountedBody(0)
        self._parsed = False  # the parser has found the end of the request
        self._body_unasked = False  # the client waits for a 100, or has got one and sends nothing yet
        self._drained = 0
        self._due = 0.0
        self._timer = ConnectionTimer(self.loop, edge.limits.stall_seconds, self._look)

    # The life of a connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take a place, or refuse."""
        super().connection_made(transport)
        self.flow = self._flow = EdgeFlow(transport, self.loop, self._limits.stall_seconds)
        self._wait(self._limits.head_seconds)
        try:
            self._address = self._edge.let_in(self.client[0] if self.client else "")
        except RequestRefused as refused:
            self._phase = Phase.REFUSED
            self._write(refused)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        super().connection_lost(exc)
        self._timer.cancel()
        if self._address is not None:
            self._edge.connections.leave(self._address)
            self._address = None
        self._forget_unread()

    # What arrives

    def data_received(self, data: bytes) -> None:
        """Take what can be taken."""
        if self._phase is not Phase.REFUSED:
            self._unread += data
            self._advance()

    def _advance(self) -> None:
        try:
            while self._unread and self._step():
                pass
            self._bound_unread()
        except RequestRefused as refused:
            self._refuse(refused)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # What a callback raises is the context of what the parser raises.
            cause = error.__context__
            self._refuse(cause if isinstance(cause, RequestRefused) else _not_http())
        if self._phase is Phase.BODY:
            self._timer.look_at(self._phase_due())

    def _step(self) -> bool:
        """Whether something was taken."""
        if self._phase is Phase.HEAD:
            return self._take_head()
        return self._phase is Phase.BODY and self._take_body()

    def _feed(self, data: bytes) -> None:
        if self.parser is not None:
            self.parser.feed_data(data)

    def _bound_unread(self) -> None:
        """Stop reading, or refuse, when too much waits."""
        unread = len(self._unread)
        self._edge.unread_bytes += unread - self._unread_counted
        self._unread_counted = unread
        if unread == 0:
            return
        crowded = self._edge.unread_bytes > self._limits.all_unread_bytes
        if self._phase is Phase.ANSWER and (crowded or unread > self._limits.unread_bytes):
            self._flow.held = True
            self._flow.pause_reading()
        elif self._phase is Phase.HEAD and crowded:
            raise RequestRefused(503, "Too many requests are incomplete")

    def _forget_unread(self) -> None:
        self._unread.clear()
        self._bound_unread()

    # Heads

    def _take_head(self) -> bool:
        head = self._heads.take(self._unread)
        if head is not None:
            self._give_head(head)
        elif not self._head_began:
            self._head_began = True
            self._wait(self._limits.head_seconds)
        return head is not None

    def _give_head(self, head: bytes) -> None:
        """Let the parser read a head. The request begins, and ends where it has no body."""
        self._parsed, self._drained = False, 0
        self._feed(head)
        self._head_began = False
        self._phase = Phase.BODY
        self._flow.clock = BodyClock(self._limits, self.loop.time())
        self._look_for_end()

    def on_headers_complete(self) -> None:
        """The parser has read a head: let the app serve it, if the fields say where the request ends."""
        line = self._heads.line
        framing = framing_of(self.headers, old=line is not None and line.old)
        self._body = ChunkedBody(self._limits) if framing.chunked else CountedBody(framing.length)
        self._body_unasked = framing.expects
        super().on_headers_complete()
        self.headers = []  # the scope keeps its list, and the fields of a trailer go where nobody sees them

    # Bodies

    def _take_body(self) -> bool:
        taken = self._body.take(self._unread)
        if taken == 0:
            return False
        content = bytes(self._unread[:taken])
        del self._unread[:taken]
        self._body_unasked = False
        self._feed(content)
        if self._flow.clock is not None:
            self._flow.clock.count(taken)
        self._drained += taken if self.cycle.response_complete else 0
        if self._drained > self._limits.drained_bytes:
            raise RequestRefused(413, "The body goes on after the answer")
        self._look_for_end()
        return True

    def on_message_complete(self) -> None:
        """The parser has found the end of a request."""
        self._parsed = True
        super().on_message_complete()

    def _look_for_end(self) -> None:
        if self._body.complete is not self._parsed:
            raise _not_http()
        if self._parsed:
            self._flow.clock = None
            self._phase = Phase.ANSWER
            if self.cycle.response_complete:
                self._begin_again()

    # Answers

    def on_response_complete(self) -> None:
        """An answer is written: go on with the next request, or with what is left of the body."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self._phase is Phase.REFUSED:
            return
        if self._phase is Phase.BODY and self._body_unasked:
            self.transport.close()  # whether the body comes or the next request, its client alone knows
            return
        self._flow.held = False
        self._flow.resume_reading()
        if self._phase is Phase.ANSWER:
            self._begin_again()
            self._advance()

    def _begin_again(self) -> None:
        self._phase = Phase.HEAD
        self._heads.begin()
        self._wait(self._limits.idle_seconds)

    def _refuse(self, refused: RequestRefused) -> None:
        """Answer, unless the app does, and close."""
        answered = self._answered()
        self._phase, self._flow.clock, self._flow.held = Phase.REFUSED, None, False
        self._forget_unread()
        if self.transport.is_closing() or (answered and not self.cycle.response_complete):
            self.transport.close()
            return
        if not answered:
            self._write(refused)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._flow.resume_reading()
        self._wait(self._limits.linger_seconds)

    def _answered(self) -> bool:
        """Whether the present request has an answer, or its beginning. If not, the app need not go on."""
        if self.cycle is None or self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]  # None at first
            return self._phase is Phase.BODY
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return self.cycle.response_started

    def _write(self, refused: RequestRefused) -> None:
        self.transport.write(self._edge.answer(refused, self._heads.line, self.server_state.default_headers))

    # Time

    def _wait(self, seconds: float) -> None:
        """So long may the present phase take."""
        self._due = self.loop.time() + seconds
        self._timer.look_at(self._due)

    def _look(self) -> None:
        """End what is over its time."""
        if self._flow.stalls():
            self.transport.abort()
            return
        due = self._phase_due()
        if due is not None and due <= self.loop.time():
            self._expire()
            due = None
        self._timer.look_at(due)

    def _phase_due(self) -> float | None:
        if self._phase is Phase.BODY:
            return self._flow.clock.due if self._flow.clock else None
        return None if self._phase is Phase.ANSWER else self._due

    def _expire(self) -> None:
        if self._phase is Phase.REFUSED:
            self.transport.abort()
        elif self._phase is Phase.HEAD and not self._unread:
            self.transport.close()  # it sent nothing: an answer might be taken for that to its next request
        else:
            self._refuse(RequestRefused(408, "The request did not come in time"))


def edge_protocol(edge: Edge) -> type[asyncio.Protocol]:
    """What uvicorn takes as its protocol: for each connection, one of this edge."""
    return cast("type[asyncio.Protocol]", partial(EdgeProtocol, edge=edge))


def _not_http() -> RequestRefused:
    return RequestRefused(400, "The request is not HTTP/1.1")
