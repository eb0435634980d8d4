"""Jobs of submit-and-poll upstreams. The status of a job is computed from the clock at each poll."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

Status = Literal["QUEUED", "PROCESSING", "COMPLETED", "FAILED", "ERROR"]
MAX_JOBS = 100_000
"""Bounds the memory of a long run; no test polls for more jobs at a time."""
_QUEUED_SHARE = 0.2  # of a job's duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One accepted submit; times are nanoseconds of the monotonic clock, `created` is a Unix time.

    `media` has the URLs of the images; None makes a result without any. A job that is `stuck` never ends.
    """

    reference: str
    upstream: str
    model: str
    model_id: str
    prompt: str
    media: tuple[str, ...] | None
    media_type: str
    created: float
    accepted_ns: int
    duration_ns: int
    ending: Literal["COMPLETED", "FAILED", "ERROR"] = "COMPLETED"
    error: str | None = None
    stuck: bool = False

    def status(self, now_ns: int) -> Status:
        """The status at a moment: for the first fifth of the duration QUEUED, then PROCESSING, then final."""
        age = now_ns - self.accepted_ns
        if age >= self.duration_ns and not self.stuck:
            return self.ending
        return "QUEUED" if age < self.duration_ns * _QUEUED_SHARE else "PROCESSING"


class JobShelf:
    """The newest 100,000 jobs by their reference."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def put(self, job: Job) -> None:
        """Add a job. Above 100,000 the oldest is dropped."""
        self._jobs[job.reference] = job
        while len(self._jobs) > MAX_JOBS:
            self._jobs.popitem(last=False)

    def get(self, upstream: str, reference: str) -> Job | None:
        """The job, if this upstream has it."""
        job = self._jobs.get(reference)
        return job if job is not None and job.upstream == upstream else None

    def clear(self) -> None:
        """Forget all jobs."""
        self._jobs.clear()
