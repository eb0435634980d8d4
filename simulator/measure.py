"""From the admission times of one quota: whether it was ever exceeded, and which share of it was used.

Times are integer nanoseconds, ascending. The used share is the mean over i of W / (t[i+R] - t[i])
(docs/design/rate-limiting.md, "Goal"). The number of calls in a few windows would not do, because it depends
on where the windows begin.
"""

from collections.abc import Sequence


def densest_window(times: Sequence[int], window_ns: int) -> int:
    """The largest number of times in any half-open window of `window_ns`."""
    densest = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= window_ns:
            first += 1
        densest = max(densest, last - first + 1)
    return densest


def utilisation(times: Sequence[int], rpm: int, window_ns: int) -> float | None:
    """The used share of the quota (1.0 is all of it); None while there are not more than `rpm` times."""
    if rpm == 0 or len(times) <= rpm:
        return None
    spans = [later - earlier for earlier, later in zip(times, times[rpm:], strict=False)]
    return sum(window_ns / max(span, 1) for span in spans) / len(spans)
