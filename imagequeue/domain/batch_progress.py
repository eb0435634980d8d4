"""What is to be done with a batch next, as a value (docs/design/backfills.md, "Pause, cancel, end").

Nothing here reads a clock or a database; `lifecycle/supervise` does what is decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from imagequeue.domain.batches import OPEN_BATCHES, RESUMED_BY_HAND, BatchState, PauseReason

BRAKE_LAST = 200
"""The brake looks at so many of the lines that finished last: it notices a change within that many calls."""

BRAKE_FROM = 50
"""The brake waits for so many finished lines: of fewer, a few bad ones say nothing about the others."""


class Step(StrEnum):
    """One thing that is done with a batch, in a transaction or in several short ones."""

    NOTHING = "nothing"
    EXPIRE = "expire"  # its window is over: no further call begins
    RETRY = "retry"  # let the next lines of a retry wait again
    GIVE_UP = "give_up"  # let the next unknown lines fail
    END_LINES = "end_lines"  # end lines that have no call in flight
    FINALIZE = "finalize"  # every line has finished
    FINISH = "finish"  # write the files, and end the batch
    SET_REASONS = "set_reasons"  # it is to be paused, or to go on


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a batch stands.

    `is_overdue`: its window is over. `validates`: one of its files is still being validated. `retries` and
    `gives_up`: a person has asked for it, and lines are left. `limit_reached`: all lines that were to run
    first have jobs, or have had them. `failing`: the brake holds.
    """

    state: BatchState
    reasons: frozenset[PauseReason]
    waiting: int
    queued: int
    unknown: int
    expiring: bool = False
    is_overdue: bool = False
    validates: bool = False
    retries: bool = False
    gives_up: bool = False
    limit_reached: bool = False
    failing: bool = False

    @property
    def open_lines(self) -> int:
        """Lines that have not finished."""
        return self.waiting + self.queued

    @property
    def reasons_now(self) -> frozenset[PauseReason]:
        """For what it is to be paused: what a person decides stays, and what nothing waits for goes."""
        found = set(self.reasons)
        if self.failing:
            found.add(PauseReason.FAILURE_RATE)
        if self.limit_reached and self.waiting and not self.queued:
            found.add(PauseReason.OPERATOR)
        if not self.open_lines and self.unknown:
            found.add(PauseReason.UNKNOWN_OUTCOMES)
        if not self.waiting:
            found &= RESUMED_BY_HAND
        return frozenset(found)


def next_step(batch: Progress) -> Step:
    """What is to be done next; NOTHING: its lines run, or it waits for a person, money or validation."""
    if batch.state in OPEN_BATCHES | {BatchState.VALIDATING} and batch.is_overdue:
        return Step.EXPIRE
    if batch.state in OPEN_BATCHES:
        return _of_open(batch)
    ends = batch.state is BatchState.CANCELLING or (batch.state is BatchState.FINALIZING and batch.expiring)
    if ends and batch.open_lines:
        return Step.END_LINES
    return Step.FINISH if ends or batch.state is BatchState.FINALIZING else Step.NOTHING


def _of_open(batch: Progress) -> Step:
    if batch.retries:
        return Step.RETRY
    if batch.gives_up:
        return Step.GIVE_UP
    if not batch.open_lines and not batch.validates and not batch.unknown:
        return Step.FINALIZE
    reasons = batch.reasons_now
    if reasons != batch.reasons or state_for(reasons, batch.queued) is not batch.state:
        return Step.SET_REASONS
    return Step.NOTHING


def state_for(reasons: frozenset[PauseReason], queued: int) -> BatchState:
    """PAUSED or IN_PROGRESS: what is held for already is served, whatever is lacking for more."""
    if reasons & RESUMED_BY_HAND or (reasons and not queued):
        return BatchState.PAUSED
    return BatchState.IN_PROGRESS


def end_state(state: BatchState, *, expiring: bool) -> BatchState:
    """How a batch ends whose files are written."""
    if state is BatchState.CANCELLING:
        return BatchState.CANCELLED
    return BatchState.EXPIRED if expiring else BatchState.COMPLETED


def brake_holds(failed: int, finished: int, most: float) -> bool:
    """Whether too many lines failed: of the last `finished` ones (at most `BRAKE_LAST`); `most`: a share."""
    return finished >= BRAKE_FROM and failed > most * finished
