"""Slows answers to wrong keys, by the address that sends them.

No key is guessed: they have 256 bits. But each wrong one costs a look in the database, and programs that were
left behind with an old key ask for ever. An address may be wrong some times without a wait; after that its
wrong keys are answered one after the other, a second apart. A right key never waits, whoever shares its
address: that is known before the wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from api.edge.addresses import counted

INTERVAL_SECONDS = 1.0
"""Between two answers to wrong keys of one address."""
AT_ONCE = 60
"""Wrong keys of an address that are answered without a wait, if it sent none within the last minute."""
LONGEST_SECONDS = 10.0
"""What an answer waits; one that would wait longer is refused at once, so few connections are held."""
_MOST = 10_000
"""Addresses in memory; above that those are forgotten that would not wait, or else the oldest half."""


class FailedKeys:
    """Says how long the answer to a wrong key waits.

    `now` is a clock in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._spent_until: dict[str, float] = {}

    def wait_seconds(self, address: str) -> float:
        """Count a wrong key. Above `LONGEST_SECONDS` it is not counted, and shall be refused at once."""
        now, name = self._now(), counted(address)
        until = max(now, self._spent_until.get(name, now)) + INTERVAL_SECONDS
        wait = max(0.0, until - now - AT_ONCE * INTERVAL_SECONDS)
        if wait <= LONGEST_SECONDS:
            if len(self._spent_until) >= _MOST:
                self._forget(now)
            self._spent_until[name] = until
        return wait

    def _forget(self, now: float) -> None:
        left = {name: until for name, until in self._spent_until.items() if until > now}
        oldest = 0 if len(left) < _MOST else _MOST // 2
        self._spent_until = dict(list(left.items())[oldest:])
