"""The slot limit falls by late starts alone, keeps its bounds, and comes back with time."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.slot_limit import (
    KEPT_SHARE,
    LATE_SECONDS,
    LEAST_SHARE,
    LEAST_SLOTS,
    REACTION_SECONDS,
    RECOVERY_SECONDS,
    SlotLimit,
)

SLOTS = st.integers(1, 1000)
MOMENTS = st.floats(0, 1e6)
IN_TIME = st.floats(0, LATE_SECONDS)
LATE = st.floats(LATE_SECONDS * 1.001, 60)
CALLS = st.tuples(st.integers(1, 1000), st.integers(0, 1000))
"""Busy ones, and those that wait for their upstreams."""
Start = tuple[float, float, tuple[int, int]]
"""Seconds since the one before it, how late it was, and the calls in hand."""
STARTS = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60), CALLS), max_size=40)


def offered(most: int, starts: Iterable[Start]) -> list[int]:
    """What a process offers after each of its starts."""
    limit, now, found = SlotLimit.of(most), 0.0, list[int]()
    for seconds, late, calls in starts:
        now += seconds
        limit = limit.after_start(now, late, *calls)
        found.append(limit.at(now))
    return found


@given(most=SLOTS, starts=st.lists(st.tuples(st.floats(0, 60), IN_TIME, CALLS), max_size=40))
def test_a_process_that_begins_its_calls_in_time_offers_all_its_slots(most: int, starts: list[Start]) -> None:
    assert offered(most, starts) == [most] * len(starts)


@given(most=SLOTS, starts=STARTS)
def test_an_eighth_of_the_slots_or_eight_are_always_offered_and_never_more_than_there_are(
    most: int, starts: list[Start]
) -> None:
    least = min(most, max(LEAST_SLOTS, int(most * LEAST_SHARE)))
    assert all(least <= slots <= most for slots in offered(most, starts))


@given(most=SLOTS, now=MOMENTS, late=LATE, data=st.data())
def test_a_late_start_leaves_a_quarter_of_the_busy_calls_and_all_that_wait(
    most: int, now: float, late: float, data: st.DataObject
) -> None:
    busy = data.draw(st.integers(1, most))
    waiting = data.draw(st.integers(0, most - busy))
    cut = SlotLimit.of(most).after_start(now, late, busy, waiting).at(now)
    assert cut == int(min(most, max(waiting + busy * KEPT_SHARE, most * LEAST_SHARE, LEAST_SLOTS)))


@given(most=SLOTS, now=MOMENTS, late=LATE, seconds=st.floats(0, REACTION_SECONDS * 0.99))
def test_the_late_starts_of_one_burst_lower_it_once(
    most: int, now: float, late: float, seconds: float
) -> None:
    once = SlotLimit.of(most).after_start(now, late, most, 0)
    assert once.after_start(now + seconds, late, most, 0) == once


@given(most=SLOTS, now=MOMENTS, late=LATE)
def test_without_late_starts_all_slots_are_back_within_a_minute(most: int, now: float, late: float) -> None:
    cut = SlotLimit.of(most).after_start(now, late, most, 0)
    assert cut.at(now + RECOVERY_SECONDS) == most


@given(most=SLOTS, now=MOMENTS, late=LATE, seconds=st.lists(st.floats(0, 60), min_size=2, max_size=10))
def test_the_limit_never_falls_by_waiting(most: int, now: float, late: float, seconds: list[float]) -> None:
    cut = SlotLimit.of(most).after_start(now, late, most, 0)
    offered = [cut.at(now + second) for second in sorted(seconds)]
    assert offered == sorted(offered)


@given(late=LATE, waiting=st.integers(0, 999))
def test_a_thousand_slow_calls_are_reached_again_after_a_late_start(late: float, waiting: int) -> None:
    limit, now = SlotLimit.of(1000).after_start(0.0, late, 1000 - waiting, waiting), 0.0
    assert limit.at(now) >= waiting
    while limit.at(now) < 1000:
        now += 2.0
        limit = limit.after_start(now, 0.01, 1, limit.at(now) - 1)
    assert now <= RECOVERY_SECONDS
