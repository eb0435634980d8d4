"""The sliding log: never more than R admitted in any half-open window, and no place wasted."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from simulator.measure import densest_window, utilisation
from simulator.quota import SlidingLog


class Clock:
    """A clock that the test moves: nanoseconds in `now`."""

    def __init__(self) -> None:
        self.now = 0

    def read(self) -> int:
        """The time now."""
        return self.now


def allowed(times: list[int], now: int, rpm: int, window: int) -> bool:
    """The definition, said slowly: with `now`, no half-open window may hold more than rpm."""
    together = [*times, now]
    return all(sum(start <= time < start + window for time in together) <= rpm for start in together)


gaps = st.lists(st.integers(0, 60), max_size=120)


@given(rpm=st.integers(0, 8), window=st.integers(1, 100), gaps=gaps)
def test_a_call_is_admitted_exactly_when_every_window_allows_it(
    rpm: int, window: int, gaps: list[int]
) -> None:
    clock, admitted = Clock(), list[int]()
    log = SlidingLog(rpm, window, clock.read)
    for moment in accumulate(gaps):
        clock.now = moment
        expected = allowed(admitted, moment, rpm, window)
        assert (log.wait_ns() == 0) == expected
        place = log.admit()
        assert (place == moment) if expected else (place is None)
        if expected:
            admitted.append(moment)
    assert densest_window(admitted, window) <= rpm


@given(rpm=st.integers(1, 6), window=st.integers(1, 100), gaps=gaps)
def test_the_wait_it_tells_is_exact(rpm: int, window: int, gaps: list[int]) -> None:
    clock = Clock()
    log = SlidingLog(rpm, window, clock.read)
    for gap in gaps:
        clock.now += gap
        if log.admit() is None:
            wait = log.wait_ns()
            clock.now += wait - 1
            assert log.admit() is None
            clock.now += 1
            assert log.admit() == clock.now


@given(rpm=st.integers(1, 6), window=st.integers(1, 100), gaps=gaps)
def test_what_was_admitted_before_a_restart_still_counts(rpm: int, window: int, gaps: list[int]) -> None:
    clock, admitted = Clock(), list[int]()
    log = SlidingLog(rpm, window, clock.read)
    for gap in gaps:
        clock.now += gap
        log = SlidingLog(rpm, window, clock.read, admitted)
        if log.admit() is not None:
            admitted.append(clock.now)
    assert densest_window(admitted, window) <= rpm


@given(times=st.lists(st.integers(0, 300), max_size=40).map(sorted), window=st.integers(1, 100))
def test_the_densest_window_is_the_one_a_slow_count_finds(times: list[int], window: int) -> None:
    slow = max((sum(start <= time < start + window for time in times) for start in times), default=0)
    assert densest_window(times, window) == slow


def test_a_fully_used_quota_measures_one_and_a_half_used_one_half() -> None:
    assert utilisation([0, 50, 100, 150, 200], 2, 100) == 1.0
    assert utilisation([0, 100, 200, 300, 400], 2, 100) == 0.5
    assert utilisation([0, 50], 2, 100) is None
    assert utilisation([0, 50], 0, 100) is None
