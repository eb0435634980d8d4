"""Jobs of submit-and-poll upstreams. Their state is a function of the clock: nothing runs in between."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

Status = Literal["QUEUED", "PROCESSING", "COMPLETED", "FAILED", "ERROR"]
MAX_JOBS = 100_000
_QUEUED_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One accepted submit; times are nanoseconds of the monotonic clock, `created` is a Unix time.

    `media` are the URLs of the result, None for a result without any. `stuck` jobs never end.
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
        """Where the job stands: the first fifth of its time it is queued."""
        age = now_ns - self.accepted_ns
        if age >= self.duration_ns and not self.stuck:
            return self.ending
        return "QUEUED" if age < self.duration_ns * _QUEUED_SHARE else "PROCESSING"


class JobShelf:
    """The newest 100,000 jobs by their reference."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def put(self, job: Job) -> None:
        """Keep a job; the oldest makes room."""
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
