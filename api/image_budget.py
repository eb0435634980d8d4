"""How many answers with images are sent at a time, so that images in flight have a bound in memory.

An answer holds a place from its first piece until its client has taken the last one. Whoever gets no place
waits in line. One account gets a part of the places only: clients that read slowly delay no other account.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

BUDGET_BYTES = 64 * 1024 * 1024
"""Images, encoded or not, that one process has in memory while it sends them."""

PIECE_BYTES = 192 * 1024
"""Bytes of an image that are read at a time: a multiple of 3, so that the base64 of pieces can be joined, and
so many that a bucket is asked a few times for an image, and not dozens of times."""

_PLACE_BYTES = PIECE_BYTES * 8 // 3
"""What an answer holds at most: a piece as base64 (4/3 of it), and once more in the buffer of its socket."""

PLACES = BUDGET_BYTES // _PLACE_BYTES
PLACES_OF_ONE_ACCOUNT = PLACES // 4


class ImageBudget:
    """The places of one process. For one event loop."""

    def __init__(self, places: int = PLACES, of_one_account: int = PLACES_OF_ONE_ACCOUNT) -> None:
        self._of_one_account = of_one_account
        self._free = asyncio.Semaphore(places)
        self._by_account: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, account_id: UUID) -> AsyncGenerator[None]:
        """Wait for a place, and have it while the context is open."""
        own = self._by_account.setdefault(account_id, asyncio.Semaphore(self._of_one_account))
        async with own, self._free:
            yield
