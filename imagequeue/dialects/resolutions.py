"""Ratios and resolutions as OpenRouter names them, and the shape of an image that they ask for.

A resolution is how many pixels an image of any ratio has: `1K` as many as 1024 x 1024, `2K` as 2048 x 2048.
Models make about `1K` by themselves, so `1K` names a ratio alone. Any other resolution is an exact size, so
that only a deployment gets the job that makes it.
"""

from __future__ import annotations

from decimal import Decimal
from math import gcd, sqrt
from typing import Annotated, Literal

from pydantic import Field

from imagequeue.domain.images import AUTO, Shape

Resolution = Literal["512", "1K", "2K", "4K"]
Ratio = Annotated[
    str, Field(pattern=r"^(auto|[1-9][0-9]{0,2}(\.[0-9]{1,2})?:[1-9][0-9]{0,2}(\.[0-9]{1,2})?)$")
]
"""`auto`, or two numbers from 1 to 999.99: phones have screens of 9:19.5."""

_SIDES: dict[Resolution, int] = {"512": 512, "2K": 2048, "4K": 4096}
"""Pixels of the side of a square."""
_BLOCK = 16
"""Pixels: image models work in blocks of that size, so sides are multiples of it."""


def shape_of(ratio: str | None, resolution: Resolution | None) -> Shape:
    """The shape that both ask for; None: not said."""
    across, down = _whole_numbers(ratio or "auto")
    side = _SIDES.get(resolution) if resolution else None
    if side is None:
        return Shape(ratio=(across, down)) if ratio and ratio != "auto" else AUTO
    return Shape(size=(_side(side, across, down), _side(side, down, across)))


def _whole_numbers(ratio: str) -> tuple[int, int]:
    """The ratio in its smallest whole numbers, if a side is no whole number: 18:39 for 9:19.5."""
    if ratio == "auto":
        return 1, 1
    left, _, right = ratio.partition(":")
    if "." not in ratio:
        return int(left), int(right)
    across, down = int(Decimal(left) * 100), int(Decimal(right) * 100)
    return across // gcd(across, down), down // gcd(across, down)


def _side(square: int, along: int, other: int) -> int:
    """One side, in pixels, of an image with as many pixels as the square."""
    return max(_BLOCK, round(square * sqrt(along / other) / _BLOCK) * _BLOCK)
