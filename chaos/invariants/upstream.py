"""Upstreams: no quota is exceeded, and every call has an attempt and a reason."""

from __future__ import annotations

from collections import Counter, defaultdict

from chaos.evidence import Evidence, Finding
from chaos.upstreams import RPM

_CALLED = {"SUCCEEDED", "REFUSED", "THROTTLED", "UNAVAILABLE", "MISCONFIGURED", "UNKNOWN", "LOST"}
_WINDOW_NS = 60 * 10**9
_MAKES_IMAGES = ("generate", "edit")


def no_window_has_more_than_its_quota(evidence: Evidence) -> Finding:
    """By the simulator's log an upstream admitted at most R calls in any half-open window of 60 s."""
    times, throttled = defaultdict[str, list[int]](list), Counter[str]()
    for call in evidence.calls:
        if call["outcome"] == "admitted" and call["operation"] in _MAKES_IMAGES:
            times[call["quota"]].append(call["monotonic_ns"])
        throttled[call["quota"]] += call["outcome"] == "throttled"
    densest = {quota: _densest(sorted(moments)) for quota, moments in sorted(times.items())}
    wrong = [
        f"{quota}: {count} calls in a minute"
        for quota, count in densest.items()
        if count > RPM[quota.split("/", maxsplit=1)[0]]
    ]
    shown = {quota.split("/", maxsplit=1)[0]: count for quota, count in densest.items()}
    counts = {"calls": len(evidence.calls), "densest": shown, "turned away": throttled.total()}
    return Finding("at most R calls in every window", counts, wrong)


def _densest(moments: list[int]) -> int:
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= _WINDOW_NS:
            first += 1
        most = max(most, last - first + 1)
    return most


def every_call_has_its_attempt(evidence: Evidence) -> Finding:
    """The upstreams got no more calls for a prompt than its jobs have attempts that called."""
    seen = Counter(str(call["prompt"]) for call in evidence.calls if call["operation"] in _MAKES_IMAGES)
    called = Counter[str]()
    for job in evidence.jobs:
        attempts = evidence.of("attempts", job)
        called[str(job["prompt"])] += sum(str(attempt["state"]) in _CALLED for attempt in attempts)
    wrong = [
        f"{prompt}: {seen[prompt]} calls, {count} attempts that called"
        for prompt, count in called.items()
        if seen[prompt] > count
    ]
    counts = {"calls": seen.total(), "attempts that may have called": called.total()}
    return Finding("every upstream call has its attempt", counts, wrong)


def every_extra_call_has_its_reason(evidence: Evidence) -> Finding:
    """Every attempt that succeeded brought an image, and no attempt of a final job is still open."""
    wrong, reasons, duplicates = list[str](), Counter[str](), 0
    for job in evidence.jobs:
        attempts = evidence.of("attempts", job)
        by_attempt = Counter(image["attempt_id"] for image in evidence.of("images", job))
        reasons.update(str(attempt["state"]) for attempt in attempts if attempt["state"] != "SUCCEEDED")
        for attempt in attempts:
            duplicates += attempt["duplicate_images"]
            idle = not by_attempt[attempt["id"]] and not attempt["duplicate_images"]
            if attempt["state"] == "SUCCEEDED" and idle:
                wrong.append(f"attempt {attempt['id']} succeeded and brought nothing")
            if attempt["finished"] is None and job["finished"] is not None:
                wrong.append(f"attempt {attempt['id']} of a final job is {attempt['state']}")
    counts = {**dict(sorted(reasons.items())), "duplicate images": duplicates}
    return Finding("every extra call has its reason on record", counts, wrong)
