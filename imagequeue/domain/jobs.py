"""The states of a job and of an attempt, and the edges between them (docs/design/pipeline.md, "States").

No edge of a job goes back: a retry is another attempt while the job stays PROCESSING. Who moves it:

    QUEUED      submit made it; the claim moves it on, or settle ends it (cancel, deadline)
    PROCESSING  the claim set it; only settle ends it
    COMPLETED   settle: every image is stored, the hold is captured
    FAILED      settle: the upstream refused, or the client cancelled; the hold is void
    ERROR       settle: the system could not serve it; the hold is void
"""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """What a poller sees. No other status exists (docs/design/contract.md, "Status body")."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    ERROR = "ERROR"

    @property
    def is_final(self) -> bool:
        """Whether nothing moves the job any more."""
        return self in FINAL


FINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.ERROR})


class Lane(StrEnum):
    """Interactive jobs go before backfill ones; each lane has its own Celery queue."""

    INTERACTIVE = "interactive"
    BACKFILL = "backfill"


class AttemptState(StrEnum):
    """The life of one upstream call (docs/design/pipeline.md, "An attempt")."""

    RELEASED = "RELEASED"
    CALLING = "CALLING"
    SLEEPING = "SLEEPING"  # a submit-and-poll upstream has it, or may have it; `poll_after`: its next poll
    SUCCEEDED = "SUCCEEDED"
    REFUSED = "REFUSED"
    THROTTLED = "THROTTLED"
    UNAVAILABLE = "UNAVAILABLE"
    MISCONFIGURED = "MISCONFIGURED"
    UNKNOWN = "UNKNOWN"
    LOST = "LOST"  # its job ended while it slept: the upstream is not polled any more
    GIVEN_BACK = "GIVEN_BACK"  # not one byte was sent: its token is free again


OPEN_ATTEMPTS = frozenset({AttemptState.RELEASED, AttemptState.CALLING, AttemptState.SLEEPING})
