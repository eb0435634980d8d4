"""Foundry's sizes: the largest that the model's limits and the ratio admit."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagequeue.domain.images import Requirement, Shape
from imagequeue.providers.adapters.foundry import Foundry
from imagequeue.providers.foundry_sizes import BLOCK, SizeLimits, size_for
from imagequeue.providers.provider import Call
from tests.providers.deployments import deployment

PLACE = deployment("foundry", "https://my-resource.services.ai.azure.com/")
DOCUMENTED = SizeLimits(768, 1_048_576)
NEWER = SizeLimits(768, 1536 * 1536)
"""What newer MAI models than the document's allow."""
RATIOS = ("16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
"""Those of all dialects, without 21:9."""
ALL_RATIOS = (*RATIOS, "21:9")
BOTH = pytest.mark.parametrize("limits", [DOCUMENTED, NEWER], ids=["documented", "newer"])


def off_by(size: tuple[int, int], ratio: tuple[int, int]) -> Fraction:
    """How far a size is from a ratio, as a share of the ratio."""
    wanted = Fraction(*ratio)
    return abs(Fraction(*size) / wanted - 1)


@BOTH
@settings(deadline=None)  # other work on the machine is not a fault
@given(ratio=st.tuples(st.integers(1, 64), st.integers(1, 64)))
def test_size_is_the_largest_within_the_rules_and_one_percent(
    limits: SizeLimits, ratio: tuple[int, int]
) -> None:
    size = size_for(Shape(ratio=ratio), limits)
    heights = range(limits.shortest_side, limits.most_pixels // limits.shortest_side + 1, BLOCK)
    # Of each height, the widest size that the rules and the ratio admit; 1/101 is 1 % seen from either side.
    widest = (min(limits.most_pixels // high, high * ratio[0] * 102 // (ratio[1] * 101)) for high in heights)
    sizes = ((wide // BLOCK * BLOCK, high) for wide, high in zip(widest, heights, strict=True))
    possible = [size for size in sizes if limits.accept(*size) and off_by(size, ratio) <= Fraction(1, 101)]
    if size is None:
        assert not possible
        return
    assert limits.accept(*size)
    assert size[0] % BLOCK == size[1] % BLOCK == 0
    assert off_by(size, ratio) <= Fraction(1, 100)
    assert max((width * height for width, height in possible), default=0) <= size[0] * size[1]


@BOTH
@settings(deadline=None)  # other work on the machine is not a fault
@given(ratio=st.tuples(st.integers(1, 64), st.integers(1, 64)))
def test_a_turned_ratio_has_the_turned_size(limits: SizeLimits, ratio: tuple[int, int]) -> None:
    size, turned = size_for(Shape(ratio=ratio), limits), size_for(Shape(ratio=(ratio[1], ratio[0])), limits)
    assert turned == ((size[1], size[0]) if size else None)


@pytest.mark.parametrize(
    ("ratio", "limits"),
    [*((ratio, DOCUMENTED) for ratio in RATIOS), *((ratio, NEWER) for ratio in ALL_RATIOS)],
)
def test_every_ratio_has_a_size_in_whole_blocks(ratio: str, limits: SizeLimits) -> None:
    shape = Shape.parse(ratio)
    size = size_for(shape, limits)
    assert size is not None
    assert shape.ratio is not None
    assert size[0] % 16 == size[1] % 16 == 0
    assert off_by(size, shape.ratio) <= Fraction(1, 100)


def test_21_to_9_cannot_have_a_size_within_the_documented_limits() -> None:
    assert DOCUMENTED.most_pixels < 768 * (768 * 21 / 9) * 0.99
    assert size_for(Shape.parse("21:9"), DOCUMENTED) is None


def test_a_newer_model_makes_what_the_catalog_allows() -> None:
    place = deployment("foundry", most_pixels=1536 * 1536)
    for shape, size in (("1:1", (1536, 1536)), ("1536x1536", (1536, 1536)), ("auto", (1024, 1024))):
        assert Foundry().refusal(Requirement(shape=Shape.parse(shape)), place) is None
        fields = json.loads(
            Foundry().build(Call(prompt="A lamp", shape=Shape.parse(shape)), place, "k").content
        )
        assert (fields["width"], fields["height"]) == size
    assert Foundry().refusal(Requirement(shape=Shape.parse("21:9")), place) is None
    assert "2359296" in (Foundry().refusal(Requirement(shape=Shape.parse("1537x1536")), place) or "")


def test_a_shorter_side_that_the_catalog_allows_is_served() -> None:
    place = deployment("foundry", shortest_side=512)
    assert Foundry().refusal(Requirement(shape=Shape.parse("512x512")), place) is None
    assert Foundry().refusal(Requirement(shape=Shape.parse("21:9")), place) is None


def test_auto_is_the_square_and_21_to_9_is_refused_with_the_reason() -> None:
    assert size_for(Shape(), DOCUMENTED) == (1024, 1024)
    assert size_for(Shape.parse("1:1"), DOCUMENTED) == (1024, 1024)
    refusal = Foundry().refusal(Requirement(shape=Shape.parse("21:9")), PLACE)
    assert refusal is not None
    assert "768" in refusal
    assert "1048576" in refusal


@pytest.mark.parametrize(("text", "served"), [("768x1365", True), ("767x1000", False), ("1024x1025", False)])
def test_exact_sizes_are_served_within_the_rules(text: str, served: bool) -> None:  # noqa: FBT001
    assert (Foundry().refusal(Requirement(shape=Shape.parse(text)), PLACE) is None) is served
