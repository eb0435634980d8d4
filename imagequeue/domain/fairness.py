"""Who goes next: start-time fair queueing over accounts, interactive jobs before backfill ones.

Every account has a tag; the smallest goes next, and its tag moves by 1 / weight. An account that was away
starts at the present virtual time: it neither saves up turns nor owes any. Within an account its flows take
turns in the same way.

The quota groups that serve one model are a pool, and a pool has one virtual time: what an account gets is the
sum over the pool, so that is what is shared. With a virtual time for each group every group is fair to within
one call, but upstream quotas are small: among 20 accounts, five groups of 12 calls a minute give 12 accounts
five calls each and 8 none when they break ties alike, and when they break them differently it is chance who
gets none and who gets five. In a pool everybody gets three. Pools know nothing of each other: an account
which is busy with one model is not made to wait for another one.

Not every group can serve every account. One that waits for a slow group falls behind the virtual time while
the others are served elsewhere; it starts at the present time then, as if it had been away. But of those that
start alike the one whose last turn is longest ago goes first, and that is the one which was served nowhere.

Backfill gets what interactive leaves, and at least every tenth grant (`FLOOR`), so that it never starves.
One interactive job that meets a backfill always gets the next grant: the floor counts only grants that
went to interactive jobs while backfill waited.

State lives in the dispatcher's memory. Losing it costs a moment of fairness, never correctness. A plan
costs one pass over the flows that wait, and then the logarithm of their number for each turn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
    """Jobs that wait in one line (docs/design/pipeline.md, "Dispatch")."""

    id: int
    model_id: str
    requirement: str
    account_id: UUID
    lane: Lane
    weight: int = 1


def pools(serves: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """The pool of every quota group: the groups that are joined by the models that they serve.

    Args:
        serves: a quota group and a model that it serves, for every deployment.
    """
    found = list[tuple[set[str], set[str]]]()
    for group, model in serves:
        joined = [pool for pool in found if group in pool[0] or model in pool[1]]
        groups = {group}.union(*(groups for groups, _ in joined))
        models = {model}.union(*(models for _, models in joined))
        found = [pool for pool in found if pool not in joined] + [(groups, models)]
    return {group: frozenset(groups) for groups, _ in found for group in groups}


Place = tuple[float, int]
"""The virtual time of a turn, and the number of the last turn before it, which breaks ties."""

_NEVER: Place = (0.0, 0)


@dataclass(slots=True)
class VirtualTime:
    """Start-time fair queueing over any keys."""

    now: float = 0.0
    served: int = 0
    tags: dict[Hashable, Place] = field(default_factory=dict[Hashable, Place])

    def place(self, key: Hashable) -> Place:
        """A key's place in line: the smallest is next."""
        tag, last = self.tags.get(key, _NEVER)
        return (tag if tag > self.now else self.now), last  # noqa: FURB136  # a thousand times a turn

    def took(self, key: Hashable, cost: float) -> None:
        """Charge a key for a turn, and let the virtual time go on."""
        start, _ = self.place(key)
        self.now, self.served = start, self.served + 1
        self.tags[key] = (start + cost, self.served)
        if len(self.tags) > _MANY_TAGS:
            self.tags.clear()


_Line = list[tuple[Place, int, list[Flow]]]
"""The accounts of a lane as a heap: the place of each, the last tie-breaker, and its flows."""


@dataclass(slots=True)
class FairQueue:
    """The turns of one pool."""

    accounts: dict[Lane, VirtualTime] = field(default_factory=lambda: {lane: VirtualTime() for lane in Lane})
    flows: dict[UUID, VirtualTime] = field(default_factory=dict[UUID, VirtualTime])
    interactive_in_a_row: int = 0

    def order(self, flows: Sequence[Flow], grants: int) -> list[Flow]:
        """Plan who takes the next `grants` turns, as if every flow had jobs enough. Charges nobody."""
        if grants == 0 or not flows:
            return []
        lines = {lane: self._line(lane, flows) for lane in {flow.lane for flow in flows}}
        in_a_row, turns, planned = self.interactive_in_a_row, list[Flow](), Counter[int]()
        while len(turns) < grants:
            lane = _lane(lines.keys(), in_a_row)
            in_a_row = in_a_row + 1 if lane is Lane.INTERACTIVE else 0
            turn = self.accounts[lane].served + len(turns) + 1
            turns.append(self._next(lines[lane], planned, turn))
        return turns

    def took(self, flow: Flow, grants: int = 1, *, backfill_waits: bool = False) -> None:
        """Charge a flow, and its account, for grants that it used."""
        self.accounts[flow.lane].took(flow.account_id, grants / flow.weight)
        self.flows.setdefault(flow.account_id, VirtualTime()).took(flow.id, grants)
        if len(self.flows) > _MANY_TAGS:
            self.flows.clear()
        if flow.lane is Lane.BACKFILL:
            self.interactive_in_a_row = 0
        elif backfill_waits:
            self.interactive_in_a_row += grants

    def _line(self, lane: Lane, flows: Iterable[Flow]) -> _Line:
        by_account = defaultdict[UUID, list[Flow]](list)
        for flow in flows:
            if flow.lane is lane:
                by_account[flow.account_id].append(flow)
        place = self.accounts[lane].place
        line = [(place(id_), id_.int, mine) for id_, mine in by_account.items()]
        heapify(line)
        return line

    def _next(self, line: _Line, planned: Counter[int], turn: int) -> Flow:
        """The flow of the account that is first in line; the account goes back by one turn."""
        (start, _), key, flows = line[0]
        heapreplace(line, ((start + 1 / flows[0].weight, turn), key, flows))
        turns = self.flows.get(flows[0].account_id) if len(flows) > 1 else None
        flow = flows[0] if len(flows) == 1 else min(flows, key=lambda one: _place(turns, one, planned))
        planned[flow.id] += 1
        return flow


def _place(turns: VirtualTime | None, flow: Flow, planned: Counter[int]) -> tuple[float, int, int, int]:
    start, last = turns.place(flow.id) if turns else _NEVER
    return start + planned[flow.id], planned[flow.id], last, flow.id


def _lane(waiting: Iterable[Lane], interactive_in_a_row: int) -> Lane:
    lanes = set(waiting)
    if Lane.INTERACTIVE not in lanes:
        return Lane.BACKFILL
    owed = Lane.BACKFILL in lanes and interactive_in_a_row >= FLOOR - 1
    return Lane.BACKFILL if owed else Lane.INTERACTIVE
