"""The header `Prefer` of a submit (RFC 7240): `respond-async`, and `wait` in seconds.

A preference is no command: one that cannot be read, or that nobody knows, is ignored, as the RFC says. Of one
that is given more than once the first counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from imagequeue.lifecycle.submit.uploads import AnswerKind

_PREFERENCE = re.compile(
    r"""\s*(?P<name>[\w!#$%&'*+.^`|~-]+)\s*(?:=\s*"?(?P<value>[^",;]*?)"?\s*)?(?:;(?:"[^"]*"|[^",])*)?""",
    re.ASCII,
)
_COMMAS = re.compile(r""",(?=(?:[^"]*"[^"]*")*[^"]*$)""")
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)
_LONGEST = 200
"""Characters of the header that are read: the two preferences have room there several times."""


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """What a submit is answered with.

    It waits for the final job for `seconds`. If the job is not final then, the answer is its id where
    `or_accepted` is true, else the error that it goes on.
    """

    kind: AnswerKind
    seconds: float
    or_accepted: bool


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a client prefers: the job's id at once, or after so many seconds at most."""

    respond_async: bool = False
    wait_seconds: int | None = None

    def plan(self, kind: AnswerKind, longest: float) -> AnswerPlan:
        """What to answer where the dialect would answer with `kind`, within `longest` seconds."""
        asynchronous = kind == "id" or self.respond_async
        wanted = self.wait_seconds if self.wait_seconds is not None else (0 if asynchronous else longest)
        if kind == "stream" and not asynchronous:
            return AnswerPlan("stream", min(wanted, longest), or_accepted=False)
        seconds = min(wanted, longest)
        return AnswerPlan(
            "job" if seconds > 0 else "id", seconds, asynchronous or self.wait_seconds is not None
        )

    def applied(self, plan: AnswerPlan, *, accepted: bool) -> dict[str, str]:
        """The header that says what was heeded; `accepted`: the answer is the job's id."""
        heeded = ["respond-async"] if self.respond_async and accepted else []
        if self.wait_seconds is not None:
            heeded.append(f"wait={plan.seconds:.0f}")
        return {"Preference-Applied": ", ".join(heeded)} if heeded else {}


_NONE = Preferences()


def read_preferences(headers: Headers) -> Preferences:
    """Read the header, which may be there several times."""
    if "prefer" not in headers:
        return _NONE
    given: dict[str, str] = {}
    for text in _COMMAS.split(",".join(headers.getlist("prefer"))[:_LONGEST]):
        if found := _PREFERENCE.fullmatch(text.strip()):
            given.setdefault(found["name"].casefold(), (found["value"] or "").strip())
    wait = given.get("wait", "")
    return Preferences("respond-async" in given, int(wait) if _SECONDS.fullmatch(wait) else None)
