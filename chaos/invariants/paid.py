"""Paid images: what an upstream billed is stored, or the reason of its loss is on record."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from chaos.evidence import Evidence, Finding, Row
from chaos.upstreams import TIMEOUT_SECONDS

USABLE = frozenset(
    {
        None,
        "delay",
        "compressed",
        "line_breaks",
        "raw_image",
        "url_text",
        "relative_url",
        "one_for_array",
        "redirected_links",
    }
)
"""Faults by which an answer, or its links, come late or in another form, and its images are whole."""

_CALLED = {"SUCCEEDED", "REFUSED", "THROTTLED", "UNAVAILABLE", "MISCONFIGURED", "UNKNOWN", "LOST"}
_EARLY_SECONDS = 1.0
"""A call that ended by its deadline may have run for so much less, as it counts from the planned start."""


@dataclass(slots=True)
class _Purchase:
    """The billed calls of one job at one deployment, and the attempts that may have made them."""

    calls: list[Row] = field(default_factory=list[Row])
    attempts: list[Row] = field(default_factory=list[Row])


def what_was_paid_is_stored_or_its_loss_explained(evidence: Evidence) -> Finding:
    """For each job and deployment, what the simulator billed stands beside what the attempts brought.

    - Each billed call has an attempt that succeeded, or one that failed with a reason on record.
    - An answer whose images are whole, in whatever form or however late, is stored, not only explained: it
      has an attempt that succeeded. There are four exceptions: the attempt's process died, or was stopped or
      killed during the call; the job ended while the attempt slept; the attempt ran until its deadline, so
      that the answer, its links or its polls did not come in time.
    - If each call was such and succeeded, as many images are stored as were billed, unless an attempt ran
      until its deadline: then the link of one image may have failed until there was no time left. (In place
      of several images `raw_image` sends one.)
    """
    wrong, counts = list[str](), Counter[str]()
    for (prompt, deployment), purchase in _purchases(evidence).items():
        counts["billed calls"] += len(purchase.calls)
        counts["billed images"] += sum(call["billed_images"] for call in purchase.calls)
        explained = _explained(purchase)
        counts["lost with a reason"] += explained
        counts["images lost at a deadline"] += _lost_at_a_deadline(evidence, purchase)
        missing = _missing(evidence, purchase)
        wrong += [f"{prompt} at {deployment}: {complaint}" for complaint in missing]
    return Finding("what was paid is stored, or its loss has a reason", dict(counts), wrong)


def _purchases(evidence: Evidence) -> dict[tuple[str, str], _Purchase]:
    found = defaultdict[tuple[str, str], _Purchase](_Purchase)
    for call in evidence.calls:
        if call["billed_images"]:
            found[call["prompt"], call["upstream"]].calls.append(call)
    for job in evidence.jobs:
        for attempt in evidence.of("attempts", job):
            purchase = found.get((job["prompt"], attempt["deployment"]))
            if purchase and attempt["state"] in _CALLED:
                purchase.attempts.append(attempt)
    return found


def _explained(purchase: _Purchase) -> int:
    """How many billed calls brought no image."""
    stored = sum(attempt["state"] == "SUCCEEDED" for attempt in purchase.attempts)
    return max(0, len(purchase.calls) - stored)


def _missing(evidence: Evidence, purchase: _Purchase) -> Sequence[str]:
    stored = [attempt for attempt in purchase.attempts if attempt["state"] == "SUCCEEDED"]
    others = [attempt for attempt in purchase.attempts if attempt["state"] != "SUCCEEDED"]
    explained = sum(bool(attempt["reason"]) or attempt["state"] == "LOST" for attempt in others)
    if len(purchase.calls) > len(stored) + explained:
        return [f"{len(purchase.calls)} billed, {len(stored)} stored, {explained} lost with a reason"]
    usable = [call for call in purchase.calls if _is_usable(call)]
    excused = sum(_is_excused(evidence, attempt) for attempt in others)
    if len(usable) > len(stored) + excused:
        reasons = sorted(str(attempt["reason"]) for attempt in others)
        return [f"{len(usable)} usable answers, {len(stored)} stored, {excused} excused; {reasons}"]
    unstored = _unstored(evidence, purchase) - _lost_at_a_deadline(evidence, purchase)
    took = [round(_seconds(attempt), 1) for attempt in stored]
    return [f"{unstored} of the images billed are not stored; the calls took {took} s"] if unstored else []


def _unstored(evidence: Evidence, purchase: _Purchase) -> int:
    """How many images were billed and not stored, where each call was usable and has succeeded."""
    calls, attempts = purchase.calls, purchase.attempts
    usable = all(_is_usable(call) and call["fault"] != "raw_image" for call in calls)
    succeeded = all(attempt["state"] == "SUCCEEDED" for attempt in attempts)
    if not (usable and succeeded and len(calls) == len(attempts)):
        return 0
    stored = sum(evidence.stored[attempt["id"]] + attempt["duplicate_images"] for attempt in attempts)
    return max(0, sum(call["billed_images"] for call in calls) - stored)


def _lost_at_a_deadline(evidence: Evidence, purchase: _Purchase) -> int:
    """Those of them of which the link failed until there was no time left."""
    late = any(map(_ran_until_its_deadline, purchase.attempts))
    return _unstored(evidence, purchase) if late else 0


def _is_usable(call: Row) -> bool:
    return call["fault"] in USABLE


def _is_excused(evidence: Evidence, attempt: Row) -> bool:
    """Whether the answer may be lost although its images were whole."""
    if attempt["process_died"] or attempt["state"] == "LOST":
        return True
    began, ended = attempt["called"] or attempt["created"], attempt["finished"]
    hurt = _was_hurt(evidence, attempt["process_id"], began, ended)
    return hurt or _ran_until_its_deadline(attempt)


def _ran_until_its_deadline(attempt: Row) -> bool:
    return _seconds(attempt) >= TIMEOUT_SECONDS[attempt["deployment"]] - _EARLY_SECONDS


def _seconds(attempt: Row) -> float:
    return attempt["finished"] - (attempt["called"] or attempt["created"])


def _was_hurt(evidence: Evidence, process_id: UUID | None, since: float, until: float) -> bool:
    """Whether the process that made a call was stopped or killed while it did."""
    pid = evidence.pids.get(str(process_id))
    return any(
        pid == fault.pid and fault.began <= until and fault.ended >= since for fault in evidence.faults
    )
