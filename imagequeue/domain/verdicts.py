"""What the outcome of an attempt means for its job, as a value: `settle` then does it.

Source: docs/design/pipeline.md, "An attempt".

outcome         counts  job
Succeeded       -       COMPLETED once every image is stored
Rejected        -       FAILED with the upstream's message
Throttled       no      goes back to its place; its group is paused
ThrottledAlone  yes     as Unavailable; `settle` makes it of 429s that this job gets while others are served
Unavailable     yes     another deployment at once, this one after a back-off; ERROR after the last
Misconfigured   no      waits for another deployment, or until this one is put right; `settle` turns one
                        that is in doubt into Unavailable where other jobs are served
Ambiguous       yes     as Unavailable, or ERROR where `retry_ambiguous` or the job's `on_unknown` forbids it
NotCalledBack   yes     as Ambiguous, or as ProcessDied if the process that made the call had died
GivenBack       no      goes back to its place: not one byte was sent
OwnFault        yes     as Unavailable
ProcessDied     yes     as Ambiguous; the third process that dies is ERROR
AnswerLost      -       ERROR: the upstream answered, and a fault of ours lost it; nothing new is bought

Failures count for each deployment by itself (`domain/rounds.py`). Attempts of one job run at once, and an
outage or a dead process ends all of them: of the attempts that were granted before the last counted failure
of the same deployment, no further one counts.

Where the upstream calls back, Ambiguous and ProcessDied do not end the attempt. It sleeps until the upstream
callback or until the call's total deadline, and only then is it UNKNOWN.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from random import Random

from imagequeue.domain.backoff import FAILED_CALL
from imagequeue.domain.batches import LineError
from imagequeue.domain.jobs import AttemptState, JobStatus
from imagequeue.domain.rounds import NO_ROUNDS, Rounds
from imagequeue.domain.upstream import (
    Ambiguous,
    Misconfigured,
    Rejected,
    Throttled,
    Unavailable,
    UpstreamError,
)

MAX_DEATHS = 3
"""A job is ERROR when so many processes died while they called for it: the job itself may kill them."""


_NOT_REPEATED = "The outcome of the call to the image service is unknown, and repeating it is not allowed"
_ANSWER_LOST = "A fault of this service lost the answer of the image service; the request was not repeated"


class GivenBack(UpstreamError):
    """The call was not made and not one byte was sent, so its token is free.

    `started` says that this process moved the attempt to CALLING; only then may it close it from there.
    `certain` is False when the process cannot know whether it did; then the token runs its time, to be safe.
    """

    def __init__(self, reason: str, *, started: bool, certain: bool = True) -> None:
        super().__init__(reason)
        self.started = started
        self.certain = certain


class InputRefused(Rejected):
    """An input image cannot be used. No byte was sent, so the token is free."""


class NotCalledBack(Ambiguous):
    """A call in doubt whose upstream did not call back before the call's total deadline."""


class OwnFault(Unavailable):
    """A fault of ours before one byte was sent. It counts for the job, but not against the deployment."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=False)


class ThrottledAlone(Unavailable):
    """A 429 that this job gets again and again while its quota group serves others."""

    def __init__(self, throttled: Throttled) -> None:
        super().__init__(throttled.reason, http_status=throttled.http_status)
        self.cost_usd, self.paid_images = throttled.cost_usd, throttled.paid_images


class AnswerLost(Ambiguous):
    """An answer came, or may have come, and a fault of ours prevents its use.

    The call is not made again, because it would be paid twice. The deployment is not to blame.
    """


class ProcessDied(Ambiguous):
    """The process that made the call died, or the call's deadline passed, before an outcome was recorded."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in the storage; sizes in pixels, `sha256` is the digest of its bytes."""

    storage_key: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    sha256: bytes

    @classmethod
    def of(cls, storage_key: str, media_type: str, size: tuple[int, int], content: bytes) -> StoredImage:
        """An image of `size` (width, height) that is stored as `content`."""
        return cls(storage_key, media_type, *size, len(content), sha256(content).digest())


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The images of one call, stored. `unusable_images` came with them."""

    images: tuple[StoredImage, ...]
    cost_usd: Decimal | None = None
    unusable_images: int = 0

    @property
    def paid_images(self) -> int:
        """How many images came: the upstream bills those that cannot be used as well."""
        return len(self.images) + self.unusable_images


AttemptOutcome = Succeeded | UpstreamError


@dataclass(frozen=True, slots=True)
class History:
    """What the job went through before this outcome, and what its deployment allows.

    `rounds` are the failures before it; `same_round` says that the attempt was granted before the last one of
    its `deployment` was counted. `out` are deployments for which the job need not wait (`domain/rounds.py`).
    `retry_ambiguous`: a call whose outcome is unknown may be made again, as client and deployment say.
    `deaths` are the other processes that died while they called for the job.
    `calls_back`: the upstream may still call back about this attempt, or has, and the job is not final.
    `orphaned`: the attempt sleeps because the process that made its call died.
    """

    deployment: str
    deaths: int
    retry_ambiguous: bool
    rounds: Rounds = NO_ROUNDS
    same_round: bool = False
    calls_back: bool = False
    orphaned: bool = False
    out: frozenset[str] = frozenset()

    @property
    def failures(self) -> int:
        """How many failures of the deployment were counted before."""
        return self.rounds.failures.get(self.deployment, 0)

    @property
    def rounds_after(self) -> Rounds:
        """The rounds when this attempt has failed."""
        return self.rounds if self.same_round else self.rounds.after_failure(self.deployment)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with the attempt and its job.

    `state` is the attempt's; SLEEPING means that it stays open and waits for an upstream callback. `ends` is
    the job's final status, if it ends now; COMPLETED is decided by the number of its images instead. `error`
    is what the client is told then, and `code` what the line of a batch is told. `counts` says that the
    failure counts. `remembers` says that the deployment failed the job: it prefers another one, and does not
    go to this one for `delay` seconds. `repeats` are the deployments that are asked once more before it ends.
    `died`: a process died. `frees_token`: the token returns at once.
    """

    state: AttemptState
    ends: JobStatus | None = None
    error: str | None = None
    code: LineError | None = None
    counts: bool = False
    remembers: bool = False
    repeats: frozenset[str] = frozenset()
    died: bool = False
    delay: float = 0.0
    frees_token: bool = False


def judge(outcome: AttemptOutcome, history: History, random: Random) -> Verdict:
    """Decide what an outcome means."""
    match outcome:
        case Succeeded():
            return Verdict(AttemptState.SUCCEEDED)
        case Rejected():
            unsent = isinstance(outcome, InputRefused)
            code = LineError.INPUT_IMAGE if unsent else LineError.REFUSED
            return Verdict(AttemptState.REFUSED, JobStatus.FAILED, outcome.reason, code, frees_token=unsent)
        case Throttled():
            return Verdict(AttemptState.THROTTLED)
        case Misconfigured():
            return Verdict(AttemptState.MISCONFIGURED, remembers=True)
        case GivenBack():
            return Verdict(AttemptState.GIVEN_BACK, frees_token=outcome.certain)
        case _:
            return _failure(outcome, history, random)


def _failure(outcome: UpstreamError, history: History, random: Random) -> Verdict:
    if isinstance(outcome, AnswerLost) and not history.calls_back:
        code = LineError.UNKNOWN_OUTCOME
        return Verdict(AttemptState.UNKNOWN, JobStatus.ERROR, _ANSWER_LOST, code)
    ambiguous = isinstance(outcome, Ambiguous)
    waited = isinstance(outcome, NotCalledBack)
    died = history.orphaned if waited else isinstance(outcome, ProcessDied)
    if ambiguous and history.calls_back and not waited:
        return Verdict(AttemptState.SLEEPING, died=died)
    state = AttemptState.UNKNOWN if ambiguous else AttemptState.UNAVAILABLE
    counts = not history.same_round
    code, error = _final_error(ambiguous=ambiguous, died=died, history=history) or (None, None)
    return Verdict(
        state,
        ends=JobStatus.ERROR if error else None,
        error=error,
        code=code,
        counts=counts,
        remembers=True,
        repeats=history.rounds_after.to_repeat,
        died=died,
        delay=FAILED_CALL.wait_seconds(history.failures + 1, random) if counts else 0.0,
        frees_token=isinstance(outcome, Unavailable) and not outcome.sent,
    )


def _final_error(*, ambiguous: bool, died: bool, history: History) -> tuple[LineError, str] | None:
    if ambiguous and not history.retry_ambiguous:
        return LineError.UNKNOWN_OUTCOME, _NOT_REPEATED
    if died and history.deaths + 1 >= MAX_DEATHS:
        return (
            LineError.NOT_SERVED,
            f"The job was ended after {MAX_DEATHS} processes died while serving it",
        )
    if not history.same_round and history.rounds_after.are_over(history.out):
        return LineError.NOT_SERVED, not_served(history.rounds_after)
    return None


def not_served(rounds: Rounds) -> str:
    """What the client is told when no deployment is left."""
    return f"The image service could not serve the job in {sum(rounds.failures.values())} attempts"
