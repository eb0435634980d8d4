"""The states of a batch and of its lines (docs/design/backfills.md, "Rows").

A batch is validated as a whole, then its lines become jobs a few at a time. Who moves the batch:

    validating   the API made it; validation moves it on, to in_progress or to failed
    failed       validation: the file holds errors, which are listed; nothing was charged
    in_progress  its lines run; reasons may be on their way to pause it
    paused       no call begins; `PauseReason` says why. A person resumes it, or the reason goes by itself
    finalizing   every line has ended, or it expires and calls in flight settle; its files are being written
    completed    its files are written; a retry of failed lines opens it again
    cancelling   a client cancelled it; calls that were sent are still settling
    cancelled    the same, when the last one has settled and its files are written
    expired      its window was over before its lines were; its files are written
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class BatchState(StrEnum):
    """Where a batch stands. OpenAI's door shows PAUSED as IN_PROGRESS and every other one by its name."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


BATCH_EDGES = MappingProxyType(
    {
        BatchState.VALIDATING: frozenset(
            {
                BatchState.IN_PROGRESS,
                BatchState.FAILED,
                BatchState.CANCELLING,
                BatchState.FINALIZING,
                BatchState.COMPLETED,
            }
        ),
        BatchState.IN_PROGRESS: frozenset({BatchState.PAUSED, BatchState.FINALIZING, BatchState.CANCELLING}),
        BatchState.PAUSED: frozenset({BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.CANCELLING}),
        BatchState.FINALIZING: frozenset({BatchState.COMPLETED, BatchState.EXPIRED}),
        BatchState.COMPLETED: frozenset({BatchState.IN_PROGRESS}),
        BatchState.CANCELLING: frozenset({BatchState.CANCELLED}),
        BatchState.FAILED: frozenset[BatchState](),
        BatchState.CANCELLED: frozenset[BatchState](),
        BatchState.EXPIRED: frozenset[BatchState](),
    }
)
"""From each state, where a batch may go. Validation completes a dry run.

COMPLETED goes back to IN_PROGRESS when failed lines are retried."""

OPEN_BATCHES = frozenset({BatchState.IN_PROGRESS, BatchState.PAUSED})
"""Batches that take lines, weights and budgets."""

ENDED_BATCHES = frozenset({BatchState.FAILED, BatchState.COMPLETED, BatchState.CANCELLED, BatchState.EXPIRED})
"""Batches of which nothing runs, so that their files and lines age."""


class PauseReason(StrEnum):
    """Why a batch is paused; a batch may have several. IN_PROGRESS is the empty set."""

    OPERATOR = "operator"
    FAILURE_RATE = "failure_rate"
    UNKNOWN_OUTCOMES = "unknown_outcomes"
    WALLET = "wallet"
    BUDGET = "budget"
    NO_DEPLOYMENT = "no_deployment"


RESUMED_BY_HAND = frozenset({PauseReason.OPERATOR, PauseReason.FAILURE_RATE, PauseReason.UNKNOWN_OUTCOMES})
"""Reasons that close the batch's flows and go by `resume` alone; the others go when their cause has gone."""


class LineState(StrEnum):
    """Where a line of a batch stands. That a line runs is not stored: its job's status says it."""

    WAITING = "waiting"
    QUEUED = "queued"  # it has a job
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"  # `OnUnknown.HOLD`: nobody knows whether its call was served
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SKIPPED = "skipped"  # an earlier line of the account has brought the same


LINE_EDGES = MappingProxyType(
    {
        LineState.WAITING: frozenset(
            {LineState.QUEUED, LineState.FAILED, LineState.CANCELLED, LineState.EXPIRED}
        ),
        LineState.QUEUED: frozenset(
            {
                LineState.COMPLETED,
                LineState.FAILED,
                LineState.UNKNOWN,
                LineState.CANCELLED,
                LineState.EXPIRED,
            }
        ),
        LineState.FAILED: frozenset({LineState.WAITING}),
        LineState.UNKNOWN: frozenset({LineState.WAITING, LineState.FAILED}),
        LineState.COMPLETED: frozenset[LineState](),
        LineState.CANCELLED: frozenset[LineState](),
        LineState.EXPIRED: frozenset[LineState](),
        LineState.SKIPPED: frozenset[LineState](),
    }
)
"""From each state, where a line may go. WAITING again: it is retried, with another job."""


class LineError(StrEnum):
    """Why a line brought no images: the codes of `batch_lines.error_code`, by which lines are retried."""

    INVALID_REQUEST = "invalid_request"  # what validation let pass cannot be read, or was refused as a submit
    REFUSED = "refused"  # by the upstream
    INPUT_IMAGE = "input_image"  # cannot be fetched, or is no image
    NOT_SERVED = "not_served"  # every deployment failed it as often as it may
    UNKNOWN_OUTCOME = "unknown_outcome"  # nobody knows whether a call was served, and none may follow
    DEADLINE = "deadline_passed"  # of its job
    CANCELLED = "cancelled"  # its job alone
    BATCH_CANCELLED = "batch_cancelled"
    BATCH_EXPIRED = "batch_expired"
    INTERNAL = "internal_error"  # a fault of this service


_STATE_OF_ERROR = MappingProxyType(
    {
        LineError.BATCH_CANCELLED: LineState.CANCELLED,
        LineError.BATCH_EXPIRED: LineState.EXPIRED,
    }
)


def state_after(error: LineError | None, on_unknown: OnUnknown) -> LineState:
    """Where a line goes when its job ends; None: the job has all its images."""
    if error is None:
        return LineState.COMPLETED
    if error is LineError.UNKNOWN_OUTCOME and on_unknown is OnUnknown.HOLD:
        return LineState.UNKNOWN
    return _STATE_OF_ERROR.get(error, LineState.FAILED)


OPEN_LINES = frozenset({LineState.WAITING, LineState.QUEUED})
"""Lines that have not finished, and so have no number of their finishing."""


class OnUnknown(StrEnum):
    """What follows a call whose outcome nobody knows."""

    RETRY = "retry"  # the deployment's rule decides
    FAIL = "fail"  # no further call; the line has failed
    HOLD = "hold"  # no further call; the line is UNKNOWN until a person decides


class Dedupe(StrEnum):
    """What counts as the same again when a batch is created."""

    OFF = "off"
    FILE = "file"  # the account's newest batch of the same file and parameters is answered
    CUSTOM_ID = "custom_id"  # lines that an earlier batch has completed are skipped


class PartState(StrEnum):
    """Where the validation of a part stands: the file of a batch, or lines that were appended later."""

    VALIDATING = "validating"
    VALID = "valid"
    FAILED = "failed"  # its lines are deleted, or are about to be
