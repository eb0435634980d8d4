"""Foundry's sizes: the largest that its rules and the ratio admit."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain.images import Requirement, Shape
from imagequeue.providers.adapters.foundry import Foundry
from imagequeue.providers.foundry_sizes import MOST_PIXELS, SHORTEST_SIDE, size_for
from tests.providers.deployments import deployment

PLACE = deployment("foundry", "https://my-resource.services.ai.azure.com/")
SIDES = range(SHORTEST_SIDE, MOST_PIXELS // SHORTEST_SIDE + 1)
PIXAZO_RATIOS = ("16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")


def off_by(size: tuple[int, int], ratio: tuple[int, int]) -> Fraction:
    """How far a size is from a ratio, as a share of the ratio."""
    wanted = Fraction(*ratio)
    return abs(Fraction(*size) / wanted - 1)


@settings(deadline=None)  # other work on the machine is not a fault
@given(st.tuples(st.integers(1, 64), st.integers(1, 64)))
def test_size_is_the_largest_within_the_rules_and_one_percent(ratio: tuple[int, int]) -> None:
    size = size_for(Shape(ratio=ratio))
    # Of each height, the widest size that the rules and the ratio admit; 1/101 is 1 % seen from either side.
    widest = ((min(MOST_PIXELS // h, int(Fraction(*ratio) * h * 101 / 100)), h) for h in SIDES)
    possible = [(w, h) for w, h in widest if w >= SHORTEST_SIDE and off_by((w, h), ratio) <= Fraction(1, 101)]
    if size is None:
        assert not possible
        return
    assert min(size) >= SHORTEST_SIDE
    assert off_by(size, ratio) <= Fraction(1, 100)
    assert max(w * h for w, h in possible) <= size[0] * size[1] <= MOST_PIXELS


@settings(deadline=None)  # other work on the machine is not a fault
@given(st.tuples(st.integers(1, 64), st.integers(1, 64)))
def test_a_turned_ratio_has_the_turned_size(ratio: tuple[int, int]) -> None:
    size, turned = size_for(Shape(ratio=ratio)), size_for(Shape(ratio=(ratio[1], ratio[0])))
    assert turned == ((size[1], size[0]) if size else None)


@pytest.mark.parametrize("ratio", PIXAZO_RATIOS)
def test_the_documented_ratios_have_sizes(ratio: str) -> None:
    assert size_for(Shape.parse(ratio))


def test_auto_is_the_square_and_21_to_9_is_refused_with_the_reason() -> None:
    assert size_for(Shape()) == (1024, 1024)
    assert size_for(Shape.parse("1:1")) == (1024, 1024)
    refusal = Foundry().refusal(Requirement(shape=Shape.parse("21:9")), PLACE)
    assert refusal is not None
    assert "768" in refusal
    assert "1048576" in refusal


@pytest.mark.parametrize(("text", "served"), [("768x1365", True), ("767x1000", False), ("1024x1025", False)])
def test_exact_sizes_are_served_within_the_rules(text: str, served: bool) -> None:  # noqa: FBT001
    assert (Foundry().refusal(Requirement(shape=Shape.parse(text)), PLACE) is None) is served
