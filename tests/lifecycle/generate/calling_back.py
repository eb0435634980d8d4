"""A pipeline with one Pixazo deployment, whose upstream calls back when the test says so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from imagequeue import wiring
from imagequeue.domain.ids import new_id
from imagequeue.domain.upstream import Pending
from imagequeue.store.attempts import calls
from imagequeue.store.attempts.calls import CallTicket
from tests.builders import MODEL
from tests.pipeline import Pipeline

REFERENCE = f"{MODEL}_1"
LOST_ANSWER = {"kind": "reset", "stage": "mid_response", "count": 1}
"""The upstream took the request, and its answer never came."""


@dataclass
class Queue:
    """A pipeline with one Pixazo deployment, and what its upstream posts."""

    pipeline: Pipeline
    wakes: list[bool] = field(default_factory=list[bool])

    def call_back(self, attempt_id: UUID, reference: object = REFERENCE) -> None:
        verb = wiring.upstream_callbacks(self.pipeline.runtime, lambda: self.wakes.append(True))
        verb.take(attempt_id, {"request_id": reference, "status": "COMPLETED"})

    def answer(self, ticket: CallTicket, process_id: UUID | None = None) -> None:
        """Let the process that called get its answer, which has the reference."""
        generation = self.pipeline.generation
        process = replace(generation.process, id=process_id or self.pipeline.process_id)
        replace(generation.recorder, process=process).record(ticket, Pending(REFERENCE, 60))

    def in_doubt(self) -> tuple[UUID, UUID]:
        """A job whose call was taken, by an upstream whose answer is lost; and its attempt."""
        self.pipeline.fault(**LOST_ANSWER)
        (job_id,) = self.pipeline.submit()
        self.pipeline.run()
        return job_id, self.attempt().id

    def calling(self, process_id: UUID | None = None) -> CallTicket:
        """An attempt that a process is calling, as it was when that process read it."""
        self.pipeline.submit()
        self.pipeline.dispatch.run_once()
        (doorbell,) = self.pipeline.rung
        self.pipeline.rung.clear()
        with self.pipeline.runtime.engine.begin() as connection:
            ticket = calls.read_ticket(connection, doorbell.attempt_id)
            assert ticket
            assert calls.start(connection, doorbell.attempt_id, process_id or self.pipeline.process_id, 180)
        return ticket

    def orphan(self) -> CallTicket:
        """One whose process has died, and that was rescued."""
        ticket = self.calling(other := self.register_another())
        self.die(other)
        return ticket

    def die(self, process_id: UUID) -> None:
        """Let a process be found dead, and its attempt be rescued."""
        self.pipeline.execute("DELETE FROM processes WHERE id = :id", id=process_id)
        assert self.pipeline.sweep.recover() == 1

    def register_another(self) -> UUID:
        process_id = new_id()
        self.pipeline.register(process_id)
        return process_id

    def settle(self, ticket: CallTicket, outcome: Any, process_id: UUID | None = None) -> None:
        """Say what came of a call, as the process that made it."""
        caller = process_id or self.pipeline.process_id
        self.pipeline.settlement.settle(ticket.attempt_id, outcome, caller, ticket.upstream_reference)

    def attempt(self) -> Any:
        (row,) = self.pipeline.rows(
            "SELECT *, poll_after <= clock_timestamp() AS due, poll_after = call_deadline AS at_the_deadline,"
            " token_returns_at > clock_timestamp() + interval '50 s' AS token_is_out FROM attempts"
        )
        return row

    def state(self) -> tuple[str, str | None]:
        row = self.attempt()
        return row.state, row.upstream_reference

    def pass_the_deadline(self) -> None:
        self.pipeline.execute(
            "UPDATE attempts SET call_deadline = clock_timestamp() - interval '1 s',"
            " poll_after = clock_timestamp() - interval '1 s' WHERE state = 'SLEEPING'"
        )

    def ring_due(self) -> int:
        """Ring for what is due, and only for that; how many doorbells were answered."""
        self.pipeline.polls.run_once()
        return self.pipeline.answer()

    def submits(self) -> int:
        return sum(call["operation"] == "generate" for call in self.pipeline.calls())
