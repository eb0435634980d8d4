"""Translates httpcore's errors into this package's."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import httpcore

from imagequeue.egress.deadline import Deadline
from imagequeue.egress.errors import ConnectionBroken, TimedOut


@contextmanager
def translated_errors(deadline: Deadline) -> Generator[None]:
    """Turn what httpcore raises inside the block into an `EgressError` that knows what was sent.

    Most errors come from the network stream and are already translated. What is left: waiting for a place in
    the pool, answers that are not HTTP, and a write that failed without an answer to read. httpcore's
    LocalProtocolError is a fault of this program and passes through.
    """
    try:
        yield
    except httpcore.TimeoutException as error:
        raise TimedOut("no connection of the pool became free in time", sent=deadline.sent) from error
    except (httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
        raise ConnectionBroken(str(error), sent=deadline.sent) from error
