"""The places of polls: how deployments share them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagequeue.domain.polling import new_polls, poll_places

_COUNTS = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 50))


@pytest.mark.parametrize(("slots", "places"), [(0, 0), (0.5, 2), (1, 2), (2, 2), (5, 3), (64, 32)])
def test_polls_have_half_as_many_places_as_there_are_slots(slots: float, places: int) -> None:
    assert poll_places(slots) == places


def test_a_deployment_that_hangs_leaves_half_of_the_places() -> None:
    assert new_polls(8, {}, {"hangs": 40}) == {"hangs": 4}
    assert new_polls(8, {"hangs": 4}, {"hangs": 36}) == {}
    assert new_polls(8, {"hangs": 4}, {"hangs": 36, "works": 6}) == {"works": 4}


def test_of_several_deployments_each_has_an_equal_share() -> None:
    assert new_polls(9, {}, {"a": 9, "b": 9, "c": 9}) == {"a": 3, "b": 3, "c": 3}


@given(places=st.integers(0, 64), taken=_COUNTS, due=_COUNTS)
def test_no_more_begin_than_are_due_and_have_a_place(
    places: int, taken: dict[str, int], due: dict[str, int]
) -> None:
    granted = new_polls(places, taken, due)
    assert all(0 < count <= due[name] for name, count in granted.items())
    assert sum(granted.values()) <= max(0, places - sum(taken.values()))
