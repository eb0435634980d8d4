"""One total deadline for one request, carried to where the waiting happens.

The timeouts of HTTP clients hold per operation: a peer that sends one byte now and then, in the headers, in
the body or as an endless row of `100 Continue`, keeps every single read short and the request alive for ever.
Only the stream that does the reading can hold a total.

httpcore hands the `timeout` of a request's extensions, untouched, to each call on the network stream. A
`Deadline` is a float (so it may stand there) that knows its instant: every call on the stream brings the
deadline of its own request, without any state between threads. It also counts, since the same place sees
every byte: whether one was sent, and how many came back.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final, Self

from imagequeue.egress.errors import BodyTooLarge, ConnectionBroken, TimedOut

HEAD_READ: Final = 4 * 1024
"""Bytes read at once while the head is incomplete; no more than that of a body comes in unasked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request, in seconds and bytes. The defaults are those of a webhook.

    Source: docs/design/webhooks.md, "Time and size".

    `connect_seconds` holds for TCP and again for TLS; `first_byte_seconds` from the first wait for the
    answer; `header_bytes` for the head of the answer, informational responses included.
    """

    total_seconds: float = 15.0
    dns_seconds: float = 3.0
    connect_seconds: float = 5.0
    first_byte_seconds: float = 10.0
    header_bytes: int = 32 * 1024


class Deadline(float):
    """The instant on the monotonic clock by which one request must be over, and what went to and fro."""

    limits: Limits
    sent: bool
    _first_byte_by: float | None
    _answered: bool
    _head_complete: bool
    _allowance: float

    def __new__(cls, instant: float, limits: Limits) -> Self:
        """Make a deadline at `instant` (seconds of `time.monotonic`)."""
        self = super().__new__(cls, instant)
        self.limits = limits
        self.sent = False
        self._first_byte_by = None
        self._answered = False
        self._head_complete = False
        self._allowance = limits.header_bytes
        return self

    @classmethod
    def starting_now(cls, limits: Limits) -> Self:
        """Make the deadline of a request that begins now and has `limits.total_seconds`."""
        return cls(time.monotonic() + limits.total_seconds, limits)

    def remaining(self, phase_seconds: float = math.inf) -> float:
        """Seconds left, at most `phase_seconds`; always positive.

        Raises:
            TimedOut: nothing is left.
        """
        left = float(self) - time.monotonic()
        if left <= 0:
            raise TimedOut("the total time of the request is over", sent=self.sent)
        return min(left, phase_seconds)

    def wait_to_read(self) -> float:
        """Seconds that a read may take now: until the deadline, and until the limit for the first byte."""
        if self._answered:
            return self.remaining()
        now = time.monotonic()
        if self._first_byte_by is None:
            self._first_byte_by = now + self.limits.first_byte_seconds
        if now >= self._first_byte_by:
            raise TimedOut("no byte of an answer came in time", sent=self.sent)
        return self.remaining(self._first_byte_by - now)

    def read_size(self, wanted: int) -> int:
        """How many bytes may be read now, at most `wanted`.

        Raises:
            ConnectionBroken: the head of the answer is larger than the limit.
            BodyTooLarge: the raw body is larger than `expect_body` has set.
        """
        if self._allowance >= 1:
            most = self._allowance if self._head_complete else min(self._allowance, HEAD_READ)
            return int(min(wanted, most))
        if self._head_complete:
            raise BodyTooLarge("the answer's body is larger than the limit", sent=self.sent)
        raise ConnectionBroken("the head of the answer is larger than the limit", sent=self.sent)

    def received(self, count: int) -> None:
        """Note that `count` bytes came in."""
        self._answered = True
        self._allowance -= count

    def expect_body(self, raw_bytes: float = math.inf) -> None:
        """Note that the head is complete; from here at most `raw_bytes` more are read from the stream."""
        self._head_complete = True
        self._allowance = raw_bytes
