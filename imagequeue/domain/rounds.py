"""How often which deployments failed a job, and when trying ends (docs/design/pipeline.md, "An attempt").

Each deployment that can serve a job may fail it `max_attempts` times; then the deployment is used up for this
job. A round is complete when each of them has failed the job once more. The job is over when all of them are
used up, but one that failed it a while ago is asked once more before: it may work again, and a job shall not
end while a deployment works that could serve it.

A deployment that is out (its breaker is not closed, or its quota is used up) may stay so for days. It keeps a
job waiting, because the job may be in order. It does not where another deployment has failed the job as often
as it may and has served other jobs meanwhile: then it is the job that fails.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

RECENT_SECONDS = 5.0
"""A failure so long ago says little about how a deployment does now; a call may well take as long."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The counted failures of a job by deployment, and how many each that can serve it may have.

    A deployment that can no longer serve the job, because the catalog has changed, may still have failures.
    `ages`: in seconds, how long ago the last one was.
    """

    failures: Mapping[str, int]
    allowed: Mapping[str, int]
    ages: Mapping[str, float] = field(default_factory=dict[str, float])

    def after_failure(self, deployment: str) -> Rounds:
        """The same with one more failure."""
        failures = {**self.failures, deployment: self.failures.get(deployment, 0) + 1}
        return Rounds(failures, self.allowed, {**self.ages, deployment: 0.0})

    @property
    def complete(self) -> int:
        """How many rounds are complete."""
        return min((self.failures.get(name, 0) for name in self.allowed), default=0)

    @property
    def used_up(self) -> frozenset[str]:
        """The deployments that have failed the job as often as they may."""
        return frozenset(name for name, most in self.allowed.items() if self.failures.get(name, 0) >= most)

    @property
    def left(self) -> frozenset[str]:
        """The deployments that may still be tried."""
        return frozenset(self.allowed) - self.used_up

    @property
    def to_repeat(self) -> frozenset[str]:
        """When all are used up: those that are asked once more, as their last failure was a while ago."""
        if self.left:
            return frozenset()
        return frozenset(
            name
            for name, most in self.allowed.items()
            if self.failures.get(name, 0) <= most and self.ages.get(name, 0.0) > RECENT_SECONDS
        )

    def are_over(self, out: Collection[str] = ()) -> bool:
        """Whether no deployment is left to wait for; `out` are those for which the job need not wait."""
        if not self.used_up:
            return False
        return self.left <= frozenset(out) if self.left else not self.to_repeat


NO_ROUNDS = Rounds({}, {})
"""Of an outcome that is no failure."""
