"""What one account may hold at a time of what all accounts use, in one process: its share.

A request over a share is refused, and other accounts notice nothing. What a request holds is given back when
it has been served, however that ends. Calls in threads have shares of their own (`api/bulkhead.py`): there an
account's further calls wait in line. Each process counts for itself.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from imagequeue.domain.errors import TooManyRequests

PART_OF_CONNECTIONS = 2
"""An account may have requests on one of so many connections: half, as of threads, because an account with
thousands of jobs may wait for each. Open for long are event streams, submits that wait for their job, and
bodies that arrive slowly; such a request holds its connection and little else."""
LEAST_REQUESTS = 16
"""Requests of an account at a time where an operator allows few connections."""
BATCH_STREAMS = 64
"""Event streams of batches: each looks at its batch once a second, and most clients follow a few."""
READS = 16
"""Results of batches and contents of files: each has up to 1 MiB in memory, and one thread for a moment."""
LARGE_BODIES = 64
"""Bodies above 32 KiB that arrive or wait to be decoded: each has 256 KiB in memory and the rest on disk."""

_RETRY_SECONDS = 5.0
"""When a refused client shall ask again: two threads have served some of its other requests by then."""
_HELD = "held_shares"
_SERVED: ContextVar[UUID | None] = ContextVar("served_account", default=None)


class Share:
    """Counts what accounts hold of one kind: `most` of each. For one event loop."""

    def __init__(self, kind: str, most: int) -> None:
        self.most = most
        self._kind = kind
        self._held: dict[int, int] = {}  # by the account's number, which is hashed faster than its UUID

    def take(self, account_id: UUID) -> None:
        """Hold one more, until it is given back.

        Raises:
            TooManyRequests: the account holds its share already; names the kind.
        """
        held = self._held.get(account_id.int, 0)
        if held >= self.most:
            message = f"This account has {self.most} {self._kind} open, the most at a time; try again later"
            raise TooManyRequests(message, retry_after=_RETRY_SECONDS)
        self._held[account_id.int] = held + 1

    def give_back(self, account_id: UUID) -> None:
        """Hold one less."""
        left = self._held.pop(account_id.int) - 1
        if left:
            self._held[account_id.int] = left

    @contextmanager
    def held(self, account_id: UUID | None) -> Generator[None]:
        """Hold one while the context is open; what is done for no account is not counted.

        Raises:
            TooManyRequests: as `take`.
        """
        if account_id is None:
            yield
            return
        self.take(account_id)
        try:
            yield
        finally:
            self.give_back(account_id)

    def count(self, account_id: UUID) -> int:
        """How many an account holds."""
        return self._held.get(account_id.int, 0)


class Shares:
    """The shares of a process that takes so many connections, by kind."""

    def __init__(self, connections: int) -> None:
        self.requests = Share("requests", max(LEAST_REQUESTS, connections // PART_OF_CONNECTIONS))
        self.batch_streams = Share("event streams of batches", BATCH_STREAMS)
        self.reads = Share("reads of results and files", READS)
        self.large_bodies = Share("large request bodies", LARGE_BODIES)


class HeldShares:
    """Gives back what a request holds when it has been served: answered, refused, broken off or cancelled."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        with holding_shares(scope):
            await self._app(scope, receive, send)


class Held:
    """What one request holds; it is given back at the end of the context."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: list[tuple[Share, UUID]] = []

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        for share, account_id in self._taken:
            share.give_back(account_id)

    def take(self, share: Share, account_id: UUID) -> None:
        """Hold one of an account's share.

        Raises:
            TooManyRequests: as `Share.take`.
        """
        share.take(account_id)
        self._taken.append((share, account_id))


def holding_shares(scope: Scope) -> Held:
    """Begin to serve a request: what it comes to hold is given back at the end of this context."""
    _SERVED.set(None)  # the task of a request begins with what that of the request before it had
    held = scope.setdefault("state", {})[_HELD] = Held()
    return held


def serve_account(request: Request, account_id: UUID) -> bool:
    """Hold one of the account's share of requests, and let this task's calls in threads be the account's.

    Returns whether this was the first time for the request; more times change nothing.

    Raises:
        TooManyRequests: the account has its share of requests already.
    """
    if _SERVED.get() is not None:
        return False
    _SERVED.set(account_id)
    hold(request, shares_of(request).requests)
    return True


def served_account() -> UUID | None:
    """The account for which this task works; None: its request has shown no key."""
    return _SERVED.get()


def hold(request: Request, share: Share) -> None:
    """Hold one of the served account's share until the request has been served.

    Raises:
        TooManyRequests: as `Share.take`.
    """
    if (account_id := served_account()) is not None:
        held: Held = request.scope["state"][_HELD]
        held.take(share, account_id)


def shares_of(request: Request) -> Shares:
    """The shares of the app that serves a request."""
    return request.app.state.shares
