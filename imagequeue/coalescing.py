"""Coalesces calls of threads: those that come while a bulk call runs gather for the next (group commit).

So a call that comes alone is made at once, and calls that come together share what one of them costs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Caller(Generic[T, R]):
    """One item in line. `woken` is set when its thread is to go on: with a result, or to make the call."""

    item: T
    results: list[R] = field(default_factory=list[R])
    error: BaseException | None = None
    taken: bool = False
    woken: threading.Event = field(default_factory=threading.Event)


class ThreadCoalescer(Generic[T, R]):
    """Turns `bulk`, which takes and returns lists of at most `most`, into a call for one item.

    One bulk call runs at a time, in the thread of one of its callers.
    """

    def __init__(self, bulk: Callable[[Sequence[T]], Sequence[R]], *, most: int) -> None:
        self._bulk = bulk
        self._most = most
        self._line: deque[_Caller[T, R]] = deque()
        self._is_running = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many calls are in line for the next bulk calls."""
        return len(self._line)

    def call(self, item: T) -> R:
        """Have one item done, alone or with those of other threads; its result.

        Raises:
            Exception: what `bulk` raised; every caller of the same bulk call gets it.
        """
        caller = _Caller[T, R](item)
        with self._lock:
            self._line.append(caller)
            waits, self._is_running = self._is_running, True
        if waits:
            caller.woken.wait()
        if not caller.taken:
            self._run()
        if caller.error is not None:
            raise caller.error
        return caller.results[0]

    def _run(self) -> None:
        """Make a bulk call, and let the next in line make the next one."""
        with self._lock:
            callers = [self._line.popleft() for _ in range(min(self._most, len(self._line)))]
        for caller in callers:
            caller.taken = True
        try:
            for caller, result in zip(callers, self._bulk([one.item for one in callers]), strict=True):
                caller.results.append(result)
        except BaseException as error:  # noqa: BLE001  # each of the threads raises it
            for caller in callers:
                caller.error = error
        finally:
            self._wake(callers)

    def _wake(self, callers: Sequence[_Caller[T, R]]) -> None:
        with self._lock:
            following = list(self._line)[:1]
            self._is_running = bool(following)
        for caller in (*following, *callers):
            caller.woken.set()
