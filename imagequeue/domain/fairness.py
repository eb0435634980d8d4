"""Who goes next: start-time fair queueing over accounts, interactive jobs before backfill ones.

Each quota group is a server of its own with its own virtual time, so that an account which is busy
elsewhere is not made to wait here. In a group every account has a tag; the smallest goes next, and
its tag moves by 1 / weight. An account that was away starts at the present virtual time: it
neither saves up turns nor owes any. Within an account its flows take turns in the same way.

Backfill gets what interactive leaves, and at least every tenth grant (`FLOOR`), so that it never starves.
One interactive job that meets a backfill always gets the next grant: the floor counts only grants that
went to interactive jobs while backfill waited.

State lives in the dispatcher's memory. Losing it costs a moment of fairness, never correctness. A plan
costs one pass over the flows that wait, and then the logarithm of their number for each turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from uuid import UUID

from imagequeue.domain.jobs import Lane

FLOOR = 10
_MANY_TAGS = 10_000
"""Beyond so many, all is forgotten at once: a moment of fairness is cheaper than memory without bound."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Jobs that wait in one line (pipeline.md, "Dispatch")."""

    id: int
    model_id: str
    requirement: str
    account_id: UUID
    lane: Lane
    weight: int = 1


@dataclass(slots=True)
class Turns:
    """Start-time fair queueing over any keys."""

    now: float = 0.0
    tags: dict[Hashable, float] = field(default_factory=dict[Hashable, float])

    def start(self, key: Hashable) -> float:
        """The virtual time at which a key's next turn starts; the smallest is next."""
        return max(self.now, self.tags.get(key, 0.0))

    def took(self, key: Hashable, cost: float) -> None:
        """Charge a key for a turn, and let the virtual time go on."""
        start = self.start(key)
        self.now = start
        self.tags[key] = start + cost
        if len(self.tags) > _MANY_TAGS:
            self.tags.clear()


@dataclass(slots=True)
class _Account:
    """An account's flows, the next one first: [start, id, flow]."""

    weight: int
    flows: list[tuple[float, int, Flow]] = field(default_factory=list[tuple[float, int, Flow]])

    def next(self) -> Flow:
        start, id_, flow = self.flows[0]
        heapreplace(self.flows, (start + 1, id_, flow))
        return flow


@dataclass(slots=True)
class FairQueue:
    """The turns of one quota group."""

    accounts: dict[Lane, Turns] = field(default_factory=lambda: {lane: Turns() for lane in Lane})
    flows: defaultdict[UUID, Turns] = field(default_factory=lambda: defaultdict[UUID, Turns](Turns))
    interactive_in_a_row: int = 0

    def order(self, flows: Sequence[Flow], grants: int) -> list[Flow]:
        """Plan who takes the next `grants` turns, as if every flow had jobs enough. Charges nobody."""
        if grants == 0 or not flows:
            return []
        lines = {lane: self._line(lane, flows) for lane in {flow.lane for flow in flows}}
        in_a_row, turns = self.interactive_in_a_row, list[Flow]()
        while len(turns) < grants:
            lane = _lane(lines.keys(), in_a_row)
            in_a_row = in_a_row + 1 if lane is Lane.INTERACTIVE else 0
            turns.append(_next(lines[lane]))
        return turns

    def took(self, flow: Flow, grants: int = 1, *, backfill_waits: bool = False) -> None:
        """Charge a flow, and its account, for grants that it used."""
        self.accounts[flow.lane].took(flow.account_id, grants / flow.weight)
        self.flows[flow.account_id].took(flow.id, grants)
        if len(self.flows) > _MANY_TAGS:
            self.flows.clear()
        if flow.lane is Lane.BACKFILL:
            self.interactive_in_a_row = 0
        elif backfill_waits:
            self.interactive_in_a_row += grants

    def _line(self, lane: Lane, flows: Iterable[Flow]) -> list[tuple[float, str, _Account]]:
        accounts = dict[UUID, _Account]()
        for flow in flows:
            if flow.lane is lane:
                account = accounts.setdefault(flow.account_id, _Account(flow.weight))
                account.flows.append((self.flows[flow.account_id].start(flow.id), flow.id, flow))
        turns = self.accounts[lane]
        line = [(turns.start(id_), str(id_), account) for id_, account in accounts.items()]
        for account in accounts.values():
            heapify(account.flows)
        heapify(line)
        return line


def _next(line: list[tuple[float, str, _Account]]) -> Flow:
    start, key, account = line[0]
    heapreplace(line, (start + 1 / account.weight, key, account))
    return account.next()


def _lane(waiting: Iterable[Lane], interactive_in_a_row: int) -> Lane:
    lanes = set(waiting)
    if Lane.INTERACTIVE not in lanes:
        return Lane.BACKFILL
    owed = Lane.BACKFILL in lanes and interactive_in_a_row >= FLOOR - 1
    return Lane.BACKFILL if owed else Lane.INTERACTIVE
