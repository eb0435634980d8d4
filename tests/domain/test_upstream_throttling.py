"""What a 429 means for its quota group."""

from __future__ import annotations

import pytest

from imagequeue.domain.upstream_throttling import Drift, GroupPause, drifted, pause_after, recovered


@pytest.mark.parametrize(("hint", "seconds"), [(0.0, 0.5), (0.4, 0.5), (7.5, 7.5), (120.0, 120.0)])
def test_a_hint_is_believed_from_half_a_second_to_two_minutes(hint: float, seconds: float) -> None:
    assert pause_after(hint, 3, 60) == GroupPause(seconds)


@pytest.mark.parametrize("hint", [120.1, 3600, 86400])
def test_a_longer_hint_means_out_of_quota_and_a_probe_every_quarter_of_an_hour(hint: float) -> None:
    assert pause_after(hint, 0, 60) == GroupPause(900, out_of_quota=True)


def test_the_upstreams_words_mean_the_same() -> None:
    assert pause_after(None, 0, 60, out_of_quota=True) == GroupPause(900, out_of_quota=True)


def test_without_a_hint_a_second_that_doubles_up_to_the_window() -> None:
    assert [pause_after(None, count, 60).seconds for count in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_after(None, 10_000, 60).seconds == 60


def test_one_impossible_429_widens_the_guard() -> None:
    drift = drifted(Drift(12), rpm=12, guard=0.4, window=60, now=100)
    assert drift == Drift(12, 0.1, drifted_at=100, clean_since=100)


def test_two_in_five_minutes_shrink_r_by_a_fifth() -> None:
    drift = drifted(Drift(12), rpm=12, guard=0.4, window=60, now=100)
    assert drifted(drift, rpm=12, guard=0.4, window=60, now=400).effective_rpm == 10
    assert drifted(drift, rpm=12, guard=0.4, window=60, now=401).effective_rpm == 12


def test_the_guard_stops_at_two_seconds_and_r_at_one() -> None:
    drift = Drift(2)
    for moment in range(100):
        drift = drifted(drift, rpm=2, guard=0.4, window=60, now=moment)
    assert drift.effective_rpm == 1
    assert drift.extra_guard == pytest.approx(1.6)
    assert drifted(Drift(2), rpm=2, guard=3.0, window=60, now=0).extra_guard == 0


def test_every_ten_clean_minutes_bring_a_step_back() -> None:
    drift = Drift(30, 0.3, clean_since=1000)
    assert recovered(drift, rpm=40, window=60, now=1599) is None
    assert recovered(drift, rpm=40, window=60, now=1600) == Drift(32, 0.2, clean_since=1600)
    assert recovered(drift, rpm=40, window=60, now=1000 + 1805) == Drift(36, 0, clean_since=2800)
    back = recovered(drift, rpm=40, window=60, now=1000 + 6000)
    assert back == Drift(40, 0, clean_since=7000)
    assert recovered(Drift(40, 0, clean_since=7000), rpm=40, window=60, now=99999) is None


@pytest.mark.parametrize("in_a_row", [0, 1, 5])
def test_an_echo_asks_for_no_pause_of_its_own_but_its_hint_is_believed(in_a_row: int) -> None:
    assert pause_after(None, in_a_row, 60, echo=True) == GroupPause(0, echo=True)
    assert pause_after(7.5, in_a_row, 60, echo=True) == GroupPause(7.5, echo=True)
    assert pause_after(86400, in_a_row, 60, echo=True) == GroupPause(900, out_of_quota=True)
