"""Every batch comes to an end by steps that its states allow, and stands still only for a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.batch_progress import (
    BRAKE_FROM,
    BRAKE_LAST,
    Progress,
    Step,
    brake_holds,
    end_state,
    next_step,
    state_for,
)
from imagequeue.domain.batches import (
    BATCH_EDGES,
    OPEN_BATCHES,
    RESUMED_BY_HAND,
    BatchState,
    PauseReason,
)

_LINES = st.integers(0, 2)
_FLAGS = ("expiring", "is_overdue", "validates", "retries", "gives_up", "limit_reached", "failing")
BATCHES = st.builds(
    Progress,
    state=st.sampled_from([state for state in BatchState if BATCH_EDGES[state] or state in OPEN_BATCHES]),
    reasons=st.frozensets(st.sampled_from(PauseReason)),
    waiting=_LINES,
    queued=_LINES,
    unknown=_LINES,
    **dict.fromkeys(_FLAGS, st.booleans()),
)


def done(batch: Progress, step: Step) -> Progress:
    """The batch after a step, when calls in flight have ended too."""
    changes: dict[str, Any] = {}
    match step:
        case Step.EXPIRE | Step.FINALIZE:
            changes = {
                "state": BatchState.FINALIZING,
                "reasons": frozenset(),
                "expiring": step is Step.EXPIRE,
            }
        case Step.RETRY:
            changes = {"retries": False}
        case Step.GIVE_UP:
            reasons = batch.reasons - {PauseReason.UNKNOWN_OUTCOMES}
            changes = {"gives_up": False, "unknown": 0, "reasons": reasons}
        case Step.END_LINES:
            changes = {"waiting": 0, "queued": 0}
        case Step.FINISH:
            changes = {"state": end_state(batch.state, expiring=batch.expiring)}
        case Step.SET_REASONS:
            reasons = batch.reasons_now
            changes = {"reasons": reasons, "state": state_for(reasons, batch.queued)}
        case Step.NOTHING:
            pass
    return replace(batch, **changes)


@given(batch=BATCHES)
def test_steps_follow_the_edges_and_come_to_rest(batch: Progress) -> None:
    for _ in range(6):
        step = next_step(batch)
        after = done(batch, step)
        if step is Step.NOTHING:
            break
        assert after != batch
        assert after.state is batch.state or after.state in BATCH_EDGES[batch.state]
        batch = after
    assert next_step(batch) is Step.NOTHING


@given(batch=BATCHES)
def test_an_open_batch_rests_only_while_lines_are_open_or_somebody_is_waited_for(batch: Progress) -> None:
    if next_step(batch) is Step.NOTHING and batch.state in OPEN_BATCHES:
        assert batch.open_lines or batch.validates or batch.reasons
        assert (batch.state is BatchState.PAUSED) == bool(
            batch.reasons & RESUMED_BY_HAND or (batch.reasons and not batch.queued)
        )


@given(batch=BATCHES)
def test_no_batch_ends_while_a_line_is_open(batch: Progress) -> None:
    if next_step(batch) is Step.FINISH and (batch.expiring or batch.state is BatchState.CANCELLING):
        assert not batch.open_lines
    if next_step(batch) is Step.FINALIZE:
        assert not batch.open_lines
        assert not batch.unknown


@given(finished=st.integers(0, BRAKE_LAST), failed=st.integers(0, BRAKE_LAST), most=st.floats(0, 1))
def test_the_brake_holds_above_its_share_and_never_for_a_few_lines(
    finished: int, failed: int, most: float
) -> None:
    failed = min(failed, finished)
    assert brake_holds(failed, finished, most) == (finished >= BRAKE_FROM and failed > most * finished)
    assert not brake_holds(failed, finished, 1.0)
