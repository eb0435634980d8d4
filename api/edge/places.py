"""AddressPlaces for connections and requests: so many in all, and so many for each address."""

from __future__ import annotations

from collections import Counter

from api.edge.addresses import counted


class AddressPlaces:
    """Counts what is open, in all and by address. For one event loop."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._open: Counter[str] = Counter()
        self.count = 0
        """What is open."""

    def full(self) -> bool:
        """Whether nobody is let in."""
        return self.count >= self._most

    def full_for(self, address: str) -> bool:
        """Whether this address has all that it may have. What has no address is not counted by it."""
        name = counted(address)
        return name != "" and self._open[name] >= self._most_per_address

    def enter(self, address: str) -> None:
        """Take a place; `leave` gives it back."""
        self.count += 1
        self._open[counted(address)] += 1

    def leave(self, address: str) -> None:
        """Give the place back."""
        name = counted(address)
        self.count -= 1
        self._open[name] -= 1
        if self._open[name] <= 0:
            del self._open[name]
