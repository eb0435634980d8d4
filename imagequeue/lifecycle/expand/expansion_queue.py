"""Whose flow is expanded next: accounts share the time of a pass alike, and the flows of one take turns.

A turn that stores images takes seconds, and a pass may end before every flow had its turn. So what was taken
in earlier passes counts too, and no account waits for all flows of another one.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from uuid import UUID

from imagequeue.domain.fairness import Place, VirtualTime
from imagequeue.store.batches.expansion import ExpandableFlow


@dataclass(slots=True)
class ExpansionQueue:
    """The flows that are due in a pass, in the order of their turns."""

    accounts: VirtualTime = field(default_factory=VirtualTime)
    flows: VirtualTime = field(default_factory=VirtualTime)
    _due: dict[UUID, deque[ExpandableFlow]] = field(default_factory=dict[UUID, deque[ExpandableFlow]])
    _heap: list[tuple[Place, UUID]] = field(default_factory=list[tuple[Place, UUID]])

    def begin(self, flows: Iterable[ExpandableFlow]) -> None:
        """Begin a pass with these flows; what is left of the one before is dropped."""
        self._due = defaultdict(deque)
        for flow in sorted(flows, key=lambda one: self.flows.place(one.id)):
            self._due[flow.account_id].append(flow)
        self._heap = [(self.accounts.place(account_id), account_id) for account_id in self._due]
        heapify(self._heap)

    def first(self) -> ExpandableFlow | None:
        """Whose turn it is; None: no flow is due any more."""
        return self._due[self._heap[0][1]][0] if self._heap else None

    def took(self, seconds: float, *, is_due: bool) -> None:
        """Charge the flow whose turn it was for `seconds`. `is_due`: it is to have another one."""
        account_id = self._heap[0][1]
        due = self._due[account_id]
        flow = due.popleft()
        self.accounts.took(account_id, seconds)
        self.flows.took(flow.id, 1)
        if is_due:
            due.append(flow)
        if due:
            heapreplace(self._heap, (self.accounts.place(account_id), account_id))
        else:
            heappop(self._heap)

    def left(self) -> set[UUID]:
        """The batches whose flows still wait for a turn."""
        return {flow.batch_id for _, account_id in self._heap for flow in self._due[account_id]}
