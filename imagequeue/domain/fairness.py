"""Who goes next: start-time fair queueing over accounts, interactive jobs before backfill jobs.

Every account has a tag, which is a virtual time. The account with the smallest tag takes the next turn, and
its tag grows by 1 / weight. An account that had no jobs begins at the present virtual time, so it has neither
saved up turns nor lost any. Within an account its batches, and its single jobs as one, take turns in the same
way, each batch by its own weight; and within a batch its flows, all alike.

Quota groups that serve the same models form a pool, and a pool has one virtual time, because accounts share
what all groups of the pool start together. A virtual time for each group would not be fair, because upstream
quotas are small: if 20 accounts share five groups of 12 calls a minute and the groups break ties alike, 12
accounts get five calls each and 8 get none; if they break ties differently, chance decides. In a pool each
account gets three. Pools are independent: an account that uses one model much does not wait for another one.

Not every group can serve every account. An account that waits for a slow group falls behind the virtual time
while others are served elsewhere, and then begins at the present time like one that had no jobs. Among
accounts that begin at the same time the one whose last turn is longest ago goes first, and that is this one.

Backfill gets what interactive jobs leave, and at least every tenth grant (`FLOOR`), so it never starves. Only
grants to interactive jobs while backfill waits count towards the ten, so an interactive job that comes while
only backfill is served always gets the next grant.

The state is in the dispatcher's memory; losing it costs a moment of fairness, and nothing else. A plan costs
one pass over the waiting flows, and then the logarithm of their number for each turn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from uuid import UUID

from imagequeue.domain.jobs import Lane

FLOOR = 10
"""Backfill gets one of so many grants while both lanes wait: it goes on, and costs the others a tenth."""
_MANY_TAGS = 10_000
"""Above so many tags all are dropped at once. That costs a moment of fairness and bounds the memory."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Jobs that wait for the same deployments, oldest first (docs/design/pipeline.md, "Dispatch").

    `weight` is the account's; `batch_weight` is that of its batch among what the account has. Both are from 1
    to 1000. Without a batch its jobs are single ones.
    """

    id: int
    model_id: str
    requirement: str
    account_id: UUID
    lane: Lane
    weight: int = 1
    batch_id: UUID | None = None
    batch_weight: int = 1

    @property
    def siblings(self) -> FlowsOfBatch:
        """Which flows it takes turns with: those of the same batch, or those with single jobs."""
        return self.account_id, self.batch_id


FlowsOfBatch = tuple[UUID, UUID | None]
"""An account, and one of its batches; None: its single jobs."""


def pools(serves: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """The pool of every quota group: the groups that it is connected with by the models that they serve.

    Args:
        serves: for every deployment, its quota group and its model.
    """
    found = list[tuple[set[str], set[str]]]()
    for group, model in serves:
        joined = [pool for pool in found if group in pool[0] or model in pool[1]]
        apart = [pool for pool in found if pool not in joined]
        found = [*apart, _union(({group}, {model}), *joined)]
    return {group: frozenset(groups) for groups, _ in found for group in groups}


def _union(*some: tuple[set[str], set[str]]) -> tuple[set[str], set[str]]:
    groups, models = zip(*some, strict=True)
    return set[str]().union(*groups), set[str]().union(*models)


Place = tuple[float, int]
"""The virtual time of a key's next turn, and the number of its last turn, which breaks ties."""

_NEVER: Place = (0.0, 0)


@dataclass(slots=True)
class VirtualTime:
    """Start-time fair queueing over any keys; `served` counts the turns."""

    now: float = 0.0
    served: int = 0
    tags: dict[Hashable, Place] = field(default_factory=dict[Hashable, Place])

    def place(self, key: Hashable) -> Place:
        """The place of a key: the smallest goes next."""
        tag, last = self.tags.get(key, _NEVER)
        return (tag if tag > self.now else self.now), last  # noqa: FURB136  # runs a thousand times a pass

    def took(self, key: Hashable, cost: float) -> None:
        """Charge a key for a turn, and move the virtual time to it."""
        start, _ = self.place(key)
        self.now, self.served = start, self.served + 1
        self.tags[key] = (start + cost, self.served)
        if len(self.tags) > _MANY_TAGS:
            self.tags.clear()


_Batches = dict[UUID | None, list[Flow]]
"""The flows of an account by their batches."""

_LaneOfAccount = tuple[Lane, UUID]
"""Batches have a virtual time in each lane: interactive turns would lift all batches over their tags."""

_AccountHeap = list[tuple[Place, int, _Batches]]
"""The accounts of a lane as a heap: the place of each, its id as the last tie-breaker, and its flows."""


@dataclass(slots=True)
class FairQueue:
    """The turns of one pool."""

    accounts: dict[Lane, VirtualTime] = field(default_factory=lambda: {lane: VirtualTime() for lane in Lane})
    batches: dict[_LaneOfAccount, VirtualTime] = field(default_factory=dict[_LaneOfAccount, VirtualTime])
    flows: dict[FlowsOfBatch, VirtualTime] = field(default_factory=dict[FlowsOfBatch, VirtualTime])
    interactive_in_a_row: int = 0

    def plan(self, flows: Iterable[Flow]) -> PlannedTurns:
        """Who goes next among these flows, while it is planned who takes what. Changes no tag."""
        by_lane = defaultdict[Lane, list[Flow]](list)
        for flow in flows:
            by_lane[flow.lane].append(flow)
        heaps = {lane: self._heap(lane, some) for lane, some in by_lane.items()}
        return PlannedTurns(self, heaps, self.interactive_in_a_row)

    def took(self, flow: Flow, grants: int = 1, *, backfill_waits: bool = False) -> None:
        """Charge a flow, its batch and its account for grants that it used."""
        self.accounts[flow.lane].took(flow.account_id, grants / flow.weight)
        turns = self.batches.setdefault((flow.lane, flow.account_id), VirtualTime())
        turns.took(flow.batch_id, grants / flow.batch_weight)
        self.flows.setdefault(flow.siblings, VirtualTime()).took(flow.id, grants)
        if max(len(self.flows), len(self.batches)) > _MANY_TAGS:
            self.flows.clear()
            self.batches.clear()
        if flow.lane is Lane.BACKFILL:
            self.interactive_in_a_row = 0
        elif backfill_waits:
            self.interactive_in_a_row += grants

    def _heap(self, lane: Lane, flows: Iterable[Flow]) -> _AccountHeap:
        by_account = defaultdict[UUID, _Batches](dict)
        for flow in flows:
            by_account[flow.account_id].setdefault(flow.batch_id, []).append(flow)
        place = self.accounts[lane].place
        heap = [(place(id_), id_.int, batches) for id_, batches in by_account.items()]
        heapify(heap)
        return heap


@dataclass(slots=True)
class PlannedTurns:
    """The turns of a pool as they would be taken: what is planned moves a flow back, and charges nobody."""

    queue: FairQueue
    heaps: dict[Lane, _AccountHeap]
    interactive_in_a_row: int
    planned: Counter[int] = field(default_factory=Counter[int])
    planned_of_batch: Counter[FlowsOfBatch] = field(default_factory=Counter[FlowsOfBatch])
    turns: int = 0

    def first(self) -> Flow | None:
        """Whose turn it is; None when every flow was dropped."""
        while self.heaps:
            lane = _lane(self.heaps.keys(), self.interactive_in_a_row)
            heap = self.heaps[lane]
            while heap and not heap[0][2]:
                heappop(heap)
            if heap:
                return self._first_of(heap[0][2])
            del self.heaps[lane]
        return None

    def took(self, flow: Flow, calls: int) -> None:
        """Move on: the flow whose turn it is takes so many calls."""
        (start, _), key, batches = self.heaps[flow.lane][0]
        self.turns += 1
        place = start + calls / flow.weight, self.queue.accounts[flow.lane].served + self.turns
        heapreplace(self.heaps[flow.lane], (place, key, batches))
        self.planned[flow.id] += calls
        self.planned_of_batch[flow.siblings] += calls
        self.interactive_in_a_row = self.interactive_in_a_row + calls if flow.lane is Lane.INTERACTIVE else 0

    def drop(self, flow: Flow) -> None:
        """The flow whose turn it is takes no more."""
        batches = self.heaps[flow.lane][0][2]
        batches[flow.batch_id].remove(flow)
        if not batches[flow.batch_id]:
            del batches[flow.batch_id]

    def _first_of(self, batches: _Batches) -> Flow:
        """Whose turn it is among the flows of an account: first which batch, then which flow of it."""
        some = list(batches.values())
        flows = some[0] if len(some) == 1 else min(some, key=lambda one: self._place_of_batch(one[0]))
        if len(flows) == 1:
            return flows[0]
        time = self.queue.flows.get(flows[0].siblings)
        return min(flows, key=lambda one: _place(time, one, self.planned))

    def _place_of_batch(self, flow: Flow) -> tuple[float, int, int, int]:
        time = self.queue.batches.get((flow.lane, flow.account_id))
        start, last = time.place(flow.batch_id) if time else _NEVER
        planned = self.planned_of_batch[flow.siblings]
        return start + planned / flow.batch_weight, planned, last, flow.id


def _place(turns: VirtualTime | None, flow: Flow, planned: Counter[int]) -> tuple[float, int, int, int]:
    start, last = turns.place(flow.id) if turns else _NEVER
    return start + planned[flow.id], planned[flow.id], last, flow.id


def _lane(waiting: Iterable[Lane], interactive_in_a_row: int) -> Lane:
    lanes = set(waiting)
    if Lane.INTERACTIVE not in lanes:
        return Lane.BACKFILL
    owed = Lane.BACKFILL in lanes and interactive_in_a_row >= FLOOR - 1
    return Lane.BACKFILL if owed else Lane.INTERACTIVE
