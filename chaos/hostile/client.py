"""The hostile client: it attacks during the whole run, from an address and with an account of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from random import Random
from typing import Self

import httpx

from chaos.hostile.attacks import Attacks
from chaos.hostile.exchange import Exchange, Shape, exchange
from chaos.upstreams import EDIT_MODEL

PAUSE_SECONDS = (1.0, 3.0)
"""Between two attacks: the whole deck takes half a minute, and the machine has time for its work."""
MOST_OPEN = 300
"""Connections that are open at the same time; an attack that would open more is left out."""
HOSTILE_FUNDS_USD = "0.40"
"""Of its account: for ten pictures. From then on the service need not decode any for it."""


class HostileClient:
    """Attacks in a thread until `stop`; `exchanges` are what came of its connections that found a server."""

    def __init__(self, port: int, attacks: Attacks, random: Random) -> None:
        self.exchanges = list[Exchange]()
        self._open = 0
        self._port, self._attacks, self._random = port, attacks, random
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="hostile", daemon=True)

    @classmethod
    def at(cls, url: str, api_key: str, seed: int) -> Self:
        """The hostile client of a run: `api_key` is that of its own account."""
        return cls(httpx.URL(url).port or 80, Attacks(api_key, EDIT_MODEL), Random(seed + 2))

    def start(self) -> None:
        """Begin to attack."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no more attacks."""
        self._over.set()

    def join(self) -> None:
        """Wait until each connection has ended, or was open for too long."""
        self._thread.join()

    async def _run(self) -> None:
        deck = list[str]()
        async with asyncio.TaskGroup() as connections:
            while True:
                if not deck:
                    deck = sorted(self._attacks.by_name)
                    self._random.shuffle(deck)
                for shape in self._admitted(list(self._attacks.by_name[deck.pop()]())):
                    connections.create_task(self._send(shape))
                await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))
                if self._over.is_set():
                    return

    def _admitted(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        """All of them, or none if too many connections would be open."""
        return shapes if self._open + len(shapes) <= MOST_OPEN else []

    async def _send(self, shape: Shape) -> None:
        self._open += 1
        found = await exchange(self._port, shape)
        self._open -= 1
        if found is not None:
            self.exchanges.append(found)
