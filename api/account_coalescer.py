"""Gathers calls of several accounts, so that no account waits for what locks another one's rows.

Source: docs/design/pipeline.md, "Bulk calls".

A group takes the rows of all its accounts in one transaction. When one of them stays locked, each account's
part is tried alone, and the parts that are locked move to the patient lane, one account at a time.
While an account has calls there, its new calls go there, too.

A caller that has been told 503 must not have its call done afterwards. So the work asks, as its last step
before a commit, whether the caller still waits (`CallGroup.waits`); one that does then waits for the commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from api.call_threads import OUTAGES, CallThreads
from api.coalescer import LARGEST_GROUP, Gatherer, PendingCall, results_of
from api.services import ApiServices
from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.store.database import LockTimeout

T = TypeVar("T")
R = TypeVar("R")

COMMON_LOCK_SECONDS = 0.25
"""What a group of several accounts waits for a lock: longer than a busy wallet's commits take."""

SPLIT_LOCK_SECONDS = 0.02
"""What each account's part waits then; the other parts of the group wait for it."""

PATIENT_LOCK_SECONDS = 0.5
"""What an account waits in its own lane before it is another account's turn."""

COMMIT_SECONDS = 10.0
"""What a caller waits for a commit that has begun, beyond the usual patience."""

_MOST_LOCKED = 1000
"""Accounts that the patient lane remembers without having calls of them."""


@dataclass(frozen=True, slots=True)
class CallGroup(Generic[T]):
    """Calls that are done in one transaction, which waits at most `lock_seconds` for a lock."""

    calls: Sequence[PendingCall[T, Any]]
    lock_seconds: float

    @property
    def items(self) -> list[T]:
        """What the calls ask for."""
        return [call.item for call in self.calls]

    def waits(self, position: int) -> bool:
        """Whether the caller of the item at `position` still waits; from then on it waits for the commit."""
        return self.calls[position].confirm()


Bulk = Callable[[CallGroup[T]], Sequence[R | Exception]]


def coalesced_by_account(
    *, account_of: Callable[[T], UUID], threads: int
) -> Callable[
    [Callable[[ApiServices, CallGroup[T]], Sequence[R | Exception]]],
    Callable[[ApiServices, T], Coroutine[Any, Any, R]],
]:
    """Make a function that works on groups into a call for one item, as `coalesced` does for lists.

    The function raises LockTimeout when it did nothing because a lock was not free within `lock_seconds`.
    """

    def define(
        bulk: Callable[[ApiServices, CallGroup[T]], Sequence[R | Exception]],
    ) -> Callable[[ApiServices, T], Coroutine[Any, Any, R]]:
        def opened(services: ApiServices) -> AccountCoalescer[T, R]:
            name = bulk.__name__
            patient = CallThreads(f"{name}-patient", 1)
            return AccountCoalescer(partial(bulk, services), account_of, CallThreads(name, threads), patient)

        @wraps(bulk)
        async def call(services: ApiServices, item: T) -> R:
            return await services.opened(opened).call(item)

        return call

    return define


class AccountCoalescer(Gatherer[T, R]):
    """Turns `bulk`, which works on groups, into a call for one item of one account."""

    def __init__(
        self, bulk: Bulk[T, R], account_of: Callable[[T], UUID], threads: CallThreads, patient: CallThreads
    ) -> None:
        super().__init__(threads, self._run_together, self._end_or_wait)
        self._bulk = bulk
        self._account_of = account_of
        self._patient = PatientLane(bulk, patient)

    def close(self) -> None:
        """Let running groups finish; nothing new is taken."""
        super().close()
        self._patient.close()

    def expire(self, call: PendingCall[T, R]) -> None:
        """Refuse a call that will not be done; one whose commit has begun waits for that."""
        if call.give_up():
            call.end(ServiceUnavailable())
        else:
            asyncio.get_running_loop().call_later(COMMIT_SECONDS, call.end, ServiceUnavailable())

    def enter(self, call: PendingCall[T, R]) -> None:
        """Let a call wait for its group; in the patient lane, if its account's rows are locked."""
        account_id = self._account_of(call.item)
        if self._patient.serves(account_id):
            self._patient.add(account_id, call)
        else:
            super().enter(call)

    def _run_together(self, calls: list[PendingCall[T, R]]) -> Sequence[R | Exception]:
        try:
            return self._bulk(CallGroup(calls, COMMON_LOCK_SECONDS))
        except LockTimeout:
            return self._by_account(calls)
        except OUTAGES:
            raise
        except DBAPIError:
            if len(calls) == 1:
                raise
            return [result for call in calls for result in self._apart([call])]

    def _by_account(self, calls: list[PendingCall[T, R]]) -> Sequence[R | Exception]:
        parts: dict[UUID, list[PendingCall[T, R]]] = {}
        for call in calls:
            parts.setdefault(self._account_of(call.item), []).append(call)
        results = {
            id(call): result
            for part in parts.values()
            for call, result in zip(part, self._apart(part), strict=True)
        }
        return [results[id(call)] for call in calls]

    def _apart(self, part: list[PendingCall[T, R]]) -> Sequence[R | Exception]:
        try:
            return self._bulk(CallGroup(part, SPLIT_LOCK_SECONDS))
        except DBAPIError as error:
            if len(part) == 1 or isinstance(error, OUTAGES):
                return [error] * len(part)
            return [result for call in part for result in self._apart([call])]
        except Exception as error:  # noqa: BLE001  # it is this part's result; the others keep theirs
            return [error] * len(part)

    def _end_or_wait(self, call: PendingCall[T, R], result: R | BaseException) -> None:
        if isinstance(result, LockTimeout):
            self._patient.add(self._account_of(call.item), call)
        else:
            call.end(result)


class PatientLane(Generic[T, R]):
    """Does the calls of accounts whose rows are locked: one account in each group, the accounts in turn."""

    def __init__(self, bulk: Bulk[T, R], threads: CallThreads) -> None:
        self._bulk = bulk
        self._threads = threads
        self._waiting: dict[UUID, deque[PendingCall[T, R]]] = {}

    def serves(self, account_id: UUID) -> bool:
        """Whether the account's rows were locked when they were last asked for."""
        return account_id in self._waiting

    def add(self, account_id: UUID, call: PendingCall[T, R]) -> None:
        """Let a call wait for the account's turn. One whose commit had begun is not done after all."""
        if call.is_confirmed:
            call.end(ServiceUnavailable())
            return
        if len(self._waiting) >= _MOST_LOCKED:
            self._waiting = {one: calls for one, calls in self._waiting.items() if calls}
        self._waiting.setdefault(account_id, deque()).append(call)
        self._start()

    def close(self) -> None:
        """Let running groups finish; nothing new is taken."""
        self._threads.close()

    def _start(self) -> None:
        while not self._threads.is_full and (account_id := self._next()) is not None:
            waiting = self._waiting[account_id]
            group = [waiting.popleft() for _ in range(min(LARGEST_GROUP, len(waiting)))]
            group = [call for call in group if not call.is_given_up]
            if group:
                done = self._threads.run(partial(self._bulk, CallGroup(group, PATIENT_LOCK_SECONDS)))
                done.add_done_callback(partial(self._finish, account_id, group))

    def _next(self) -> UUID | None:
        return next((account_id for account_id, calls in self._waiting.items() if calls), None)

    def _finish(
        self, account_id: UUID, group: list[PendingCall[T, R]], done: asyncio.Future[Sequence[R | Exception]]
    ) -> None:
        results = results_of(done, len(group))
        waiting = self._waiting.pop(account_id, deque[PendingCall[T, R]]())
        if waiting or any(isinstance(result, LockTimeout) for result in results):
            self._waiting[account_id] = waiting  # at the end: the other accounts come first
        for call, result in zip(group, results, strict=True):
            if isinstance(result, LockTimeout) and not call.is_given_up:
                self.add(account_id, call)
            else:
                call.end(result)
        self._start()
