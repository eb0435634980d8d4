"""Aspect ratio to size for Foundry: the largest size that Foundry accepts, within 1 % of the ratio.

Foundry accepts sizes with both sides at least 768 pixels and at most 1,048,576 pixels in all (the Foundry
document, "Request parameters"). So no side is above 1365, and no ratio above 16:9 has a size (21:9 has none).
"""

from __future__ import annotations

from functools import lru_cache

from imagequeue.domain.images import Shape

SHORTEST_SIDE = 768
MOST_PIXELS = 1_048_576
SQUARE = (1024, 1024)


def size_for(shape: Shape) -> tuple[int, int] | None:
    """Width and height in pixels; None when no accepted size has this shape."""
    if shape.size:
        return shape.size if _accepted(*shape.size) else None
    return _largest(*shape.ratio) if shape.ratio else SQUARE


def _accepted(width: int, height: int) -> bool:
    return min(width, height) >= SHORTEST_SIDE and width * height <= MOST_PIXELS


@lru_cache(maxsize=256)
def _largest(across: int, down: int) -> tuple[int, int] | None:
    """The size with the most pixels; of two equal ones, the one nearer to the ratio `across:down`."""
    if across < down:
        turned = _largest(down, across)
        return (turned[1], turned[0]) if turned else None
    longest = MOST_PIXELS // SHORTEST_SIDE
    sizes = ((min(longest, MOST_PIXELS // height), height) for height in range(SHORTEST_SIDE, longest + 1))
    fitting = [fitted for size in sizes for fitted in _narrowed(*size, across, down) if _accepted(*fitted)]
    return max(fitting, key=lambda size: (size[0] * size[1], -_deviation(*size, across, down)), default=None)


def _narrowed(width: int, height: int, across: int, down: int) -> list[tuple[int, int]]:
    """The widest size of this height that is within 1 % of the ratio, as a list of one, or none."""
    widest = min(width, 101 * height * across // (100 * down))
    return [(widest, height)] if _deviation(widest, height, across, down) <= 0.01 else []  # noqa: PLR2004


def _deviation(width: int, height: int, across: int, down: int) -> float:
    """How far the size is from the ratio, as a share of it. 3:4 is as far from 9:16 as 4:3 from 16:9."""
    left, right = width * down, height * across
    return max(left, right) / min(left, right) - 1 if left and right else float("inf")
