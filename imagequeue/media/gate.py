"""What the threads of a process share for pictures: memory for pixels, cores, and places for storing.

A picture's bytes do not tell what it takes in memory: 2 KB of WebP may hold 49 megapixels. So pixels are
weighed before they are decoded (`media/weight.py`), and all threads share one budget of them. Parsing an
answer (its base64) needs a core and memory too, and belongs inside `DECODING`: the answers of 64 calls wait
for it on disk. Storing waits for a network with an image in memory. It has places of its own, so that a slow
storage delays no decoding.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import TracebackType


class Budget:
    """An amount that threads share. Who does not fit waits in line, and nobody passes one who came before."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """How many threads stand in line."""
        return len(self._line)

    @contextmanager
    def of(self, weight: int) -> Generator[None]:
        """Hold so much of the budget; who needs more than all of it holds all of it."""
        weight = min(weight, self._total)
        self.take(weight)
        try:
            yield
        finally:
            self.give_back(weight)

    def take(self, weight: int) -> None:
        """Wait for so much, at most the total."""
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                self._changed.wait_for(lambda: self._line[0] is ticket and self._free >= weight)
                self._free -= weight
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()

    def give_back(self, weight: int) -> None:
        """Let the next in line have it."""
        with self._changed:
            self._free += weight
            self._changed.notify_all()


class Gate:
    """Lets `places` threads through at a time, in line; a thread that is inside may enter again."""

    def __init__(self, places: int) -> None:
        self._places = Budget(places)
        self._inside = threading.local()

    def __enter__(self) -> None:
        depth: int = getattr(self._inside, "depth", 0)
        if depth == 0:
            self._places.take(1)
        self._inside.depth = depth + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.depth -= 1
        if self._inside.depth == 0:
            self._places.give_back(1)


MOST_DECODING = 4
"""The most decodings at a time, on any number of cores: each holds a file of up to 64 MiB, too."""

DECODING = Gate(
    min(
        MOST_DECODING,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )
)
"""The gate of this process for decoding: a place for each core that it may use."""

INPUTS = Gate(2)
"""The gate of this process for input images that are in memory to be prepared, up to 20 MiB each. They have
places of their own, because a large one waits for a child process, and no paid answer waits for that."""

STORING = Gate(8)
"""The gate of this process for puts into the storage. Each holds an image of up to 64 MiB in memory."""

PIXELS = Budget(64 * 1024 * 1024)
"""Bytes of memory for the pixels of all threads of this process: four pictures of one megapixel. A thread
takes its place in `DECODING` first, so that no two threads wait for each other."""

UPLOADS = Budget(128 * 1024 * 1024)
"""Bytes of memory for bodies of submits that are being parsed: a body of 27 MB goes alone. A thread holds its
part before it takes a place in `DECODING`."""

_COPIES_OF_A_BODY = 5
"""The body, its text, the base64 of its image without white space, and the image, some of them as copies."""

WORTH_RETURNING_BYTES = 8 * 1024 * 1024
"""A picture of less weight is not worth the milliseconds of `return_memory`."""


@contextmanager
def decoding(weight_bytes: int) -> Generator[None]:
    """Wait for a core and for so much memory, and give the memory back to the system at the end."""
    with DECODING, _returned(PIXELS, weight_bytes):
        yield


@contextmanager
def reading_upload(body_bytes: int) -> Generator[None]:
    """Wait for the memory that a body of this size takes, and give it back to the system at the end."""
    with _returned(UPLOADS, _COPIES_OF_A_BODY * body_bytes):
        yield


@contextmanager
def _returned(budget: Budget, weight_bytes: int) -> Generator[None]:
    with budget.of(weight_bytes):
        try:
            yield
        finally:
            if weight_bytes >= WORTH_RETURNING_BYTES:
                return_memory()


def return_memory() -> None:
    """Give freed memory back to the system: glibc keeps blocks of less than 32 MiB, and with them pixels."""
    with suppress(AttributeError, OSError):  # another C library has no such call
        ctypes.CDLL(None).malloc_trim(0)
