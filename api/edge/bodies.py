"""Where the body of a request ends, and whether it comes in time."""

from __future__ import annotations

import re
from typing import Protocol

from api.edge.heads import FIELDS, RequestRefused
from api.edge.limits import EdgeLimits

_CHUNK_LINE = re.compile(rb"(?P<size>[0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
_TRAILER_END = re.compile(rb"(?:\A|\n)\r?\n")


class Body(Protocol):
    """Finds the end of a body in what arrives."""

    complete: bool

    def take(self, data: bytearray) -> int:
        """How many bytes at the beginning of `data` are of this body and may go to the parser.

        What is left is of the next request, or not enough to tell; then `data` begins with it next time.

        Raises:
            RequestRefused: the body is malformed.
        """
        ...


class CountedBody:
    """A body whose length is known: `content-length`, or none."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete = length == 0

    def take(self, data: bytearray) -> int:
        """As `Body`."""
        taken = min(self._left, len(data))
        self._left -= taken
        self.complete = self._left == 0
        return taken


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1), whose parts that nobody reads are bounded: extensions and trailer."""

    def __init__(self, limits: EdgeLimits) -> None:
        self._limits = limits
        self._left = 0  # bytes of the present chunk, with the line end behind it
        self._last = False
        self._chunks = 0
        self._bytes = 0
        self.complete = False

    def take(self, data: bytearray) -> int:
        """As `Body`."""
        position = 0
        while position < len(data) and not self.complete:
            step = self._step(data, position)
            if step == 0:
                break
            position += step
        return position

    def _step(self, data: bytearray, position: int) -> int:
        if self._left:
            return self._content(data, position)
        return self._trailer(data, position) if self._last else self._line(data, position)

    def _content(self, data: bytearray, position: int) -> int:
        """Content goes on as it comes. The parser checks the line end behind it."""
        taken = min(self._left, len(data) - position)
        self._left -= taken
        return taken

    def _line(self, data: bytearray, position: int) -> int:
        end = data.find(b"\n", position, position + self._limits.chunk_line_bytes) + 1
        if end == 0:
            if len(data) - position >= self._limits.chunk_line_bytes:
                raise RequestRefused(400, "The line of a chunk is too long")
            return 0
        found = _CHUNK_LINE.fullmatch(data, position, end)
        if found is None:
            raise RequestRefused(400, "A chunk of the body is malformed")
        self._begin(int(found["size"], 16))
        return end - position

    def _begin(self, size: int) -> None:
        self._chunks += 1
        self._bytes += size
        if (self._chunks - self._limits.small_chunks) * self._limits.chunk_bytes > self._bytes:
            raise RequestRefused(400, "The body comes in too many small chunks")
        self._last = size == 0
        self._left = size and size + len(b"\r\n")

    def _trailer(self, data: bytearray, position: int) -> int:
        rest = bytes(data[position : position + self._limits.trailer_bytes])
        found = _TRAILER_END.search(rest)
        if found is None:
            if len(rest) >= self._limits.trailer_bytes:
                raise RequestRefused(431, "The trailer of the body is too long")
            return 0
        if (
            FIELDS.fullmatch(rest, 0, found.end()) is None
            or rest.count(b"\n", 0, found.end()) - 1 > self._limits.fields
        ):
            raise RequestRefused(400, "The trailer of the body is malformed")
        self.complete = True
        return found.end()


class BodyClock:
    """When a body that does not come any faster is given up; times are monotonic seconds."""

    def __init__(self, limits: EdgeLimits, now: float) -> None:
        self._limits = limits
        self._began = now
        self._bytes = 0
        self._paused_at: float | None = None

    def count(self, taken: int) -> None:
        """So many bytes of it have come."""
        self._bytes += taken

    def pause(self, now: float) -> None:
        """The server reads nothing any more, which is not the client's fault."""
        self._paused_at = now if self._paused_at is None else self._paused_at

    def resume(self, now: float) -> None:
        """It reads again."""
        if self._paused_at is not None:
            self._began += now - self._paused_at
            self._paused_at = None

    @property
    def due(self) -> float | None:
        """When it is given up; None: not while the server reads nothing."""
        if self._paused_at is not None:
            return None
        limits = self._limits
        earned = limits.body_grace_seconds + self._bytes / limits.body_bytes_per_second
        most = max(limits.body_seconds, self._bytes / limits.large_body_bytes_per_second)
        return self._began + min(earned, most)
