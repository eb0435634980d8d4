"""Who goes next: start-time fair queueing over accounts, interactive jobs before backfill ones.

Each quota group is a server of its own with its own virtual time, so that an account which is busy
elsewhere is not made to wait here. In a group every account has a tag; the smallest goes next, and
its tag moves by 1 / weight. An account that was away starts at the present virtual time: it
neither saves up turns nor owes any. Within an account its flows take turns in the same way.

Backfill gets what interactive leaves, and at least every tenth grant (`FLOOR`), so that it never starves.
One interactive job that meets a backfill always gets the next grant: the floor counts only grants that
went to interactive jobs while backfill waited.

State lives in the dispatcher's memory. Losing it costs a moment of fairness, never correctness.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from imagequeue.domain.jobs import Lane

FLOOR = 10


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

    def next(self, waiting: Iterable[Hashable]) -> Hashable:
        """The key whose turn it is, of those that wait (at least one)."""
        return min(waiting, key=lambda key: (max(self.now, self.tags.get(key, 0.0)), str(key)))

    def took(self, key: Hashable, cost: float) -> None:
        """Charge a key for a turn, and let the virtual time go on."""
        start = max(self.now, self.tags.get(key, 0.0))
        self.now = start
        self.tags[key] = start + cost

    def forget_idle(self) -> None:
        """Drop the tags that say no more than the virtual time does."""
        self.tags = {key: tag for key, tag in self.tags.items() if tag > self.now}


@dataclass(slots=True)
class FairQueue:
    """The turns of one quota group."""

    accounts: dict[Lane, Turns] = field(default_factory=lambda: {lane: Turns() for lane in Lane})
    flows: Turns = field(default_factory=Turns)
    interactive_in_a_row: int = 0

    def order(self, flows: Sequence[Flow], grants: int) -> list[Flow]:
        """Plan who takes the next `grants` turns, as if every flow had jobs enough. Charges nobody."""
        planned = FairQueue(
            {lane: Turns(turns.now, dict(turns.tags)) for lane, turns in self.accounts.items()},
            Turns(self.flows.now, dict(self.flows.tags)),
            self.interactive_in_a_row,
        )
        turns = list[Flow]()
        for _ in range(grants if flows else 0):
            flow = planned.next(flows)
            planned.took(flow, flows)
            turns.append(flow)
        return turns

    def next(self, flows: Sequence[Flow]) -> Flow:
        """The flow whose turn it is, of those that wait (at least one)."""
        lane = self._lane({flow.lane for flow in flows})
        mine = [flow for flow in flows if flow.lane is lane]
        account = self.accounts[lane].next({flow.account_id for flow in mine})
        by_id = {flow.id: flow for flow in mine if flow.account_id == account}
        chosen = self.flows.next(by_id)
        return by_id[chosen] if isinstance(chosen, int) else mine[0]

    def took(self, flow: Flow, waiting: Sequence[Flow], grants: int = 1) -> None:
        """Charge a flow, and its account, for grants that it used."""
        self.accounts[flow.lane].took(flow.account_id, grants / flow.weight)
        self.flows.took(flow.id, grants)
        if flow.lane is Lane.BACKFILL:
            self.interactive_in_a_row = 0
        elif any(other.lane is Lane.BACKFILL for other in waiting):
            self.interactive_in_a_row += grants

    def _lane(self, waiting: set[Lane]) -> Lane:
        if Lane.INTERACTIVE not in waiting:
            return Lane.BACKFILL
        owed = Lane.BACKFILL in waiting and self.interactive_in_a_row >= FLOOR - 1
        return Lane.BACKFILL if owed else Lane.INTERACTIVE
