"""Expand: keep enough jobs of each batch waiting, and hold the money for them (docs/design/backfills.md).

A pass finds the flows of batches in which lines wait, works out how many jobs of each are to wait
(`window.py`), and takes turns with those that are short (`turn.py`). A turn reads the text of some lines and
stores their images before it takes a lock (`read_lines.py`). What cannot be paid for stops its flow and
nothing else, and is looked at again in every pass: so a deposit, a higher budget or a hold that came back
lets it go on, and nobody who moves money knows batches.

Any number of dispatchers may expand. A cursor for each flow steps over the rows that expanded lines leave
behind, as those of the claim do; it hides no line for longer than `WHOLE_SECONDS`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from imagequeue.domain.batches import PauseReason
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.expand import turn
from imagequeue.lifecycle.expand.expansion_queue import ExpansionQueue
from imagequeue.lifecycle.expand.known_inputs import with_known_inputs
from imagequeue.lifecycle.expand.line_texts import within_bytes
from imagequeue.lifecycle.expand.read_lines import LinePreparation, PreparedLine, ReadLine
from imagequeue.lifecycle.expand.turn import NOT_OURS, Turn
from imagequeue.lifecycle.expand.window import MOST_WAITING, Rates, fetched, windows
from imagequeue.media.storage import StorageError
from imagequeue.runtime import Runtime
from imagequeue.store.batches import control, expansion
from imagequeue.store.batches.expansion import ExpandableFlow
from imagequeue.store.database import TooSlow, separate_statements

log = structlog.get_logger()

INTERVAL_SECONDS = 1.0
"""Between two passes: a window is a minute long, so this is soon enough, and also for a deposit."""

MOST_LINES = 200
"""Lines of one turn, so that its transaction takes less than 50 ms."""

PASS_SECONDS = 10.0
"""After so long a pass begins no further turn: the watchdog ends loops that stand for 60 s."""

WHOLE_SECONDS = 10.0
"""A look without cursors comes so often: it finds lines that are retried, or that another turn gave back."""

RecordReasons = Callable[[UUID, frozenset[PauseReason]], None]
"""Is told what the next lines of a batch lack, where that is another thing than before."""


@dataclass(slots=True)
class Expander:
    """Makes passes. `wake` tells the dispatchers that jobs wait; `record` says why a batch does not go on.

    `read` reads the text of a line. `eligibility` is the dispatcher's. `clock` gives monotonic seconds.
    """

    runtime: Runtime
    eligibility: Callable[[], Eligibility]
    read: ReadLine
    record: RecordReasons
    wake: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    queue: ExpansionQueue = field(default_factory=ExpansionQueue)
    cursors: dict[int, int] = field(default_factory=dict[int, int])
    short: set[int] = field(default_factory=set[int])
    whole_at: float = float("-inf")

    def run_once(self) -> int:
        """Make jobs of the lines that are due; how many lines have moved."""
        until = self.clock() + PASS_SECONDS
        flows, wanted = self._look()
        lacking = defaultdict[UUID, set[PauseReason]](set)
        unknown, moved = set[UUID](), 0
        self.queue.begin(flow for flow in flows if wanted[flow.id] > 0)
        while (began := self.clock()) < until and (flow := self.queue.first()) is not None:
            found = self._turn(flow, wanted[flow.id])
            moved, wanted[flow.id] = moved + found.moved, wanted[flow.id] - found.moved
            lacking[flow.batch_id] |= found.lacking
            if not found.is_known:
                unknown.add(flow.batch_id)
            goes_on = found.is_known and found.moved > 0 and not found.lacking
            self.queue.took(self.clock() - began, is_due=goes_on and wanted[flow.id] > 0)
        if moved:
            self.wake()
        unknown |= self.queue.left()
        self._record({flow.batch_id: flow for flow in flows if flow.batch_id not in unknown}, lacking)
        return moved

    def _look(self) -> tuple[list[ExpandableFlow], dict[int, int]]:
        """The flows in which lines wait, and how many more jobs of each are to wait."""
        whole = self.clock() >= self.whole_at
        if whole:
            self.whole_at, self.cursors = self.clock() + WHOLE_SECONDS, {}
        with separate_statements(self.runtime.engine) as connection:
            flows = expansion.flows_with_lines(connection, self.cursors)
            self.short &= {flow.id for flow in flows}
            if not flows:
                return [], {}
            return flows, self._wanted(connection, flows)

    def _wanted(self, connection: Connection, flows: Sequence[ExpandableFlow]) -> dict[int, int]:
        rates = Rates.read(connection, self.eligibility())
        plain = [fetched(flow.requirement) for flow in flows]
        waiting = expansion.waiting_jobs(connection, flows, plain, MOST_WAITING)
        return {id_: most - waiting.get(id_, 0) for id_, most in windows(flows, rates).items()}

    def _turn(self, flow: ExpandableFlow, most: int) -> Turn:
        """One turn. A flow that was short of something tries a single line first: reading many costs more."""
        if not self.eligibility().deployments(flow.model_id, fetched(flow.requirement)):
            return Turn(lacking=frozenset({PauseReason.NO_DEPLOYMENT}))
        try:
            found = self._take(flow, 1 if flow.id in self.short else min(most, MOST_LINES))
        except (TooSlow, StorageError, ServiceUnavailable) as error:
            log.warning("expansion_postponed", batch_id=str(flow.batch_id), reason=type(error).__name__)
            return NOT_OURS
        (self.short.add if found.lacking else self.short.discard)(flow.id)
        return found

    def _take(self, flow: ExpandableFlow, most: int) -> Turn:
        catalog = self.runtime.catalog
        with self.runtime.engine.begin() as connection:
            batch = control.look_at_batch(connection, flow.batch_id)
            if batch is None:
                return NOT_OURS
            last = control.last_to_run(connection, batch)
            cursor = self.cursors.get(flow.id, 0)
            lines = within_bytes(expansion.waiting_lines(connection, flow.id, cursor, last, most))
            terms = expansion.read_terms(connection, flow.batch_id)
        if not lines:
            return Turn()
        preparation = LinePreparation(self.runtime, catalog, self.read, self.clock)
        prepared = preparation.prepare(flow.batch_id, terms, lines)
        ready = with_known_inputs(self.runtime.engine, flow.batch_id, prepared.lines)
        found = self._taken(catalog, flow, ready) if ready else Turn()
        is_next = len(ready) == len(prepared.lines)
        if prepared.unserved and is_next and not found.lacking:
            return Turn(found.moved, frozenset({PauseReason.NO_DEPLOYMENT}), found.is_known)
        if found.moved == len(lines):
            self.cursors[flow.id] = lines[-1].number
        return found

    def _taken(self, catalog: Catalog, flow: ExpandableFlow, lines: Sequence[PreparedLine]) -> Turn:
        """Take the lines. One that the database refuses fails by itself: halving finds it."""
        try:
            return turn.take(self.runtime, catalog, flow, lines)
        except (DataError, IntegrityError):
            if len(lines) > 1:
                return self._taken(catalog, flow, lines[: len(lines) // 2])
            log.exception("line_refused", batch_id=str(flow.batch_id), number=lines[0].number)
            turn.refuse(self.runtime, flow, lines[0].number, _NOT_TAKEN)
            return Turn(moved=1)

    def _record(self, flows: Mapping[UUID, ExpandableFlow], lacking: Mapping[UUID, set[PauseReason]]) -> None:
        for batch_id, flow in flows.items():
            found = frozenset(lacking.get(batch_id, ()))
            if found != flow.reasons:
                self.record(batch_id, found)


_NOT_TAKEN = "A fault of this service: the line could not be made into a request"
