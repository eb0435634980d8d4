"""A live process is never taken for dead, and a dead one is found, whatever happens to the observer."""

from __future__ import annotations

from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from imagequeue.lifecycle.sweep.failure_detector import LONGEST_GAP, READS, SECONDS, FailureDetector
from imagequeue.lifecycle.sweep.heartbeat import INTERVAL_SECONDS

NUMBERS = st.integers(0, 3)
LONGEST_SILENCE = INTERVAL_SECONDS * 4
"""Seconds that a live process may miss: several beats, because its database is slow."""


class Watching(RuleBasedStateMachine):
    """Four processes, whose lives are known, and one observer."""

    @initialize()
    def begin(self) -> None:
        self.now = 1000.0
        self.failure_detector = FailureDetector(clock=lambda: self.now)
        self.beats = dict.fromkeys(map(_id, range(4)), 0)
        self.last_beat = dict.fromkeys(self.beats, self.now)
        self.stopped = set[UUID]()
        self.dead = set[UUID]()
        self.quiet_reads = 0
        self.quiet_since = self.now

    def _pass(self, seconds: float) -> None:
        """Time passes, and who lives beats in it."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + INTERVAL_SECONDS)
            for id_ in self.beats.keys() - self.stopped:
                if self.now - self.last_beat[id_] >= LONGEST_SILENCE:
                    self.beats[id_] += 1
                    self.last_beat[id_] = self.now

    @rule(seconds=st.floats(0.1, 5), fails=st.booleans())
    def look(self, seconds: float, fails: bool) -> None:  # noqa: FBT001  # drawn
        self._pass(seconds)
        if fails:
            self.failure_detector.restart()
            self.quiet_reads = 0
            return
        if not self.quiet_reads:
            self.quiet_since = self.now
        self.quiet_reads += 1
        self.dead = self.failure_detector.observe(dict(self.beats))

    @rule(seconds=st.floats(LONGEST_GAP + 0.1, 600))
    def the_observer_stands_still(self, seconds: float) -> None:
        """Everybody may have been stopped with it: nobody beats."""
        self.now += seconds
        self.last_beat = {id_: self.last_beat[id_] + seconds for id_ in self.beats}
        self.quiet_reads = 0
        self.dead = self.failure_detector.observe(dict(self.beats))
        self.quiet_since, self.quiet_reads = self.now, 1

    @rule(number=NUMBERS)
    def die(self, number: int) -> None:
        self.stopped.add(_id(number))
        self.quiet_reads = 0

    @rule(number=NUMBERS)
    def come_back(self, number: int) -> None:
        id_ = _id(number)
        self.stopped.discard(id_)
        self.beats[id_] += 1
        self.last_beat[id_] = self.now
        self.dead.discard(id_)

    @invariant()
    def nobody_who_lives_is_dead(self) -> None:
        assert self.dead <= self.stopped

    @invariant()
    def whoever_died_is_found(self) -> None:
        watched = self.now - self.quiet_since
        if self.quiet_reads > READS + 1 and watched > SECONDS + 2 * LONGEST_SILENCE:
            assert self.stopped <= self.dead


def _id(number: int) -> UUID:
    return UUID(int=number)


TestWatching = Watching.TestCase
TestWatching.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)


def test_a_process_that_stands_still_is_dead_after_four_reads_over_twenty_seconds() -> None:
    now = 0.0
    failure_detector = FailureDetector(clock=lambda: now)
    seen = list[bool]()
    for _ in range(6):
        seen.append(bool(failure_detector.observe({_id(1): 7})))
        now += 5.0
    assert seen == [False, False, False, False, True, True]


def test_a_failed_read_starts_the_observation_anew() -> None:
    now = 0.0
    failure_detector = FailureDetector(clock=lambda: now)
    for _ in range(4):
        failure_detector.observe({_id(1): 7})
        now += 5.0
    failure_detector.restart()
    assert not failure_detector.observe({_id(1): 7})


def test_a_beat_in_between_is_a_sign_of_life() -> None:
    now = 0.0
    failure_detector = FailureDetector(clock=lambda: now)
    for beat in (7, 7, 7, 7, 8, 8, 8, 8):
        assert not failure_detector.observe({_id(1): beat})
        now += 5.0
