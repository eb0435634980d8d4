"""Faults on demand: which calls they hit, and how often.

A fault hits a call at a *stage*. `before_body`: nothing of the body was read, so only upstream and operation
can be matched. `before_admission`: the call was read, and takes no place of its quota. `after_admission`: the
call has taken its place and fails all the same, as at real upstreams. `mid_response`: the first half of the
answer has been sent. `perform.py`, `wire.py` and `images.py` do to the answer what the kind of the fault
says.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from simulator.log import FaultStage

FaultKind = Literal[
    "status",  # answer `status` with `code`, `message`, `headers`, or with `body` as it stands
    "delay",  # wait `seconds`, then go on
    "hang",  # never answer; ends when the client leaves
    "reset",  # a TCP reset
    "drip",  # `bytes_per_second` of the true answer
    "truncated_json",  # the first half of the body, correctly framed
    "truncated_base64",  # image text cut where it cannot be decoded; half a file where the answer is a URL
    "html",  # 200 (or `status`) with a page of HTML
    "not_an_image",  # text where the image should be
    "bomb",  # a small PNG that claims (and would inflate to) 30,000 x 30,000
    "oversized",  # a body of `size_bytes`
    "fewer_images",  # one image less than asked
    "no_data",  # a success that holds no images
    "redirect",  # `status` 307 to `location`
    "compressed",  # the true answer with `encoding`, although the request did not accept it
    "line_breaks",  # base64 in lines of 76 characters
    "raw_image",  # the first image itself as the body
    "url_text",  # the images' URLs as text, in place of JSON
    "redirected_links",  # URLs that lead over `hops` redirects to the image, where the answer has URLs
    "relative_url",  # URLs without scheme and host, where the answer has URLs
    "one_for_array",  # an array with one value is that value
    "job_failed",  # submit-and-poll upstreams: the job ends FAILED with `message`
    "job_error",  # submit-and-poll upstreams: the job ends ERROR with `message`
    "job_stuck",  # submit-and-poll upstreams: the job never ends
]
TargetOperation = Literal["generate", "edit", "poll", "download"]

_STAGES: dict[str, frozenset[FaultKind]] = {
    "before_body": frozenset({"status", "delay", "hang", "reset"}),
    "before_admission": frozenset({"status", "delay", "hang", "reset", "html", "redirect"}),
    "mid_response": frozenset({"hang", "reset"}),
}


class FaultMatch(BaseModel):
    """Which calls are hit: those that fit every field that is given.

    Without `operation` only generate and edit calls fit; polls and downloads fit only where it names them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstream: str | None = None
    model: str | None = None
    operation: TargetOperation | None = None
    prompt_contains: str | None = None

    def fits(self, target: "Target") -> bool:
        """Whether this call fits."""
        return (
            self.upstream in (None, target.upstream)
            and self.model in (None, target.model)
            and target.operation in ((self.operation,) if self.operation else ("generate", "edit"))
            and (self.prompt_contains is None or self.prompt_contains in (target.prompt or ""))
        )


class Fault(BaseModel):
    """One fault. `count` calls are hit (None: until it is deleted), each with `probability`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    match: FaultMatch = FaultMatch()
    stage: FaultStage = "after_admission"
    count: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1, gt=0, le=1)
    status: int | None = Field(default=None, ge=200, le=599)
    code: str | None = None
    message: str = "injected by the simulator"
    headers: dict[str, str] = {}
    body: JsonValue = None
    seconds: float = Field(default=1, ge=0)
    bytes_per_second: int = Field(default=1000, ge=1)
    size_bytes: int = Field(default=100_000_000, ge=1)
    location: str | None = None
    hops: int = Field(default=1, ge=1, le=9)
    encoding: Literal["gzip", "deflate", "br", "zstd"] = "gzip"

    @model_validator(mode="after")
    def _possible(self) -> "Fault":
        allowed = _STAGES.get(self.stage)
        if allowed is not None and self.kind not in allowed:
            raise ValueError(f"{self.kind} cannot be applied at stage {self.stage}")
        if self.stage == "before_body" and (self.match.model or self.match.prompt_contains):
            raise ValueError("before the body is read neither the model nor the prompt is known")
        if self.kind == "redirect" and self.location is None:
            raise ValueError("redirect needs a location")
        return self


@dataclass(frozen=True, slots=True)
class Target:
    """What a fault is matched with: as much of a call as is known at the stage."""

    upstream: str
    operation: str
    model: str | None = None
    prompt: str | None = None


@dataclass(slots=True)
class ArmedFault:
    """A fault, and how often it has fitted a call and was applied."""

    identifier: int
    fault: Fault
    chance: random.Random
    fitted: int = 0
    applied: int = 0

    def strikes(self) -> bool:
        """Count a call that fits; whether it is hit."""
        if self.spent:
            return False
        self.fitted += 1
        hit = self.chance.random() < self.fault.probability
        self.applied += hit
        return hit

    @property
    def spent(self) -> bool:
        """Whether it has hit `count` calls."""
        return self.fault.count is not None and self.applied >= self.fault.count

    def as_json(self) -> dict[str, Any]:
        """What `GET /_sim/faults` shows."""
        return {
            "id": self.identifier,
            "fitted": self.fitted,
            "applied": self.applied,
            **self.fault.model_dump(exclude_defaults=True),
        }


class FaultBook:
    """All faults. At each stage of a call the oldest fault that fits and strikes is applied, and no other."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._number = 0
        self._armed: dict[int, ArmedFault] = {}

    def add(self, fault: Fault) -> ArmedFault:
        """Add a fault. Which calls it hits depends only on the seed and on how many were added before."""
        self._number += 1
        # A run must be repeatable from its seed; nothing secret depends on these numbers.
        chance = random.Random(f"{self._seed}/{self._number}")  # noqa: S311
        armed = ArmedFault(self._number, fault, chance)
        self._armed[self._number] = armed
        return armed

    def take(self, target: Target, *stages: FaultStage) -> Fault | None:
        """The fault that hits this call at one of these stages, counted as applied."""
        return self._take(target, lambda fault: fault.stage in stages)

    def take_now(self, target: Target) -> Fault | None:
        """The fault before admission that ends this call. Delays do not; `take_delay` finds those."""
        return self._take(target, lambda fault: fault.stage == "before_admission" and fault.kind != "delay")

    def _take(self, target: Target, suits: Callable[[Fault], bool]) -> Fault | None:
        for armed in self._armed.values():
            if suits(armed.fault) and armed.fault.match.fits(target) and armed.strikes():
                return armed.fault
        return None

    def take_delay(self, target: Target) -> Fault | None:
        """The delay that hits this call before admission. It passes before the gate decides."""
        return self._take(target, lambda fault: fault.stage == "before_admission" and fault.kind == "delay")

    def all(self) -> list[ArmedFault]:
        """Every fault, oldest first, with those that have hit all their calls."""
        return list(self._armed.values())

    def remove(self, identifier: int) -> bool:
        """Remove a fault; False if there is none with this id."""
        return self._armed.pop(identifier, None) is not None

    def clear(self) -> None:
        """Remove all faults."""
        self._armed.clear()
