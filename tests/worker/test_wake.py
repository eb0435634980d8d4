"""How long a loop waits before it looks without a wake-up."""

from __future__ import annotations

from worker.wake import LOOK_SECONDS, QUIET_AFTER_SECONDS, QUIET_LOOK_SECONDS, LookInterval


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_looks_are_rarer_after_some_time_without_work_and_frequent_again_once_there_is_some() -> None:
    clock = Clock()
    interval = LookInterval(clock)
    assert interval.seconds(may_be_woken=True) == LOOK_SECONDS
    clock.now += QUIET_AFTER_SECONDS
    assert interval.seconds(may_be_woken=True) == QUIET_LOOK_SECONDS
    interval.busy()
    assert interval.seconds(may_be_woken=True) == LOOK_SECONDS


def test_who_cannot_be_woken_looks_often_however_quiet_it_is() -> None:
    clock = Clock()
    interval = LookInterval(clock)
    clock.now += 1000 * QUIET_AFTER_SECONDS
    assert interval.seconds(may_be_woken=False) == LOOK_SECONDS
