"""Aspect ratio to size for Foundry: the largest size within its rules, within 1 % of the ratio.

The rules are the Foundry document's ("Request parameters"): both sides at least 768 pixels, at most
1,048,576 pixels in all. So no side is above 1365, and no ratio above 16:9 has a size (21:9 has none).
"""

from __future__ import annotations

from functools import lru_cache

from imagequeue.domain.images import Shape

SHORTEST_SIDE = 768
MOST_PIXELS = 1_048_576
SQUARE = (1024, 1024)


def size_for(shape: Shape) -> tuple[int, int] | None:
    """Width and height in pixels; None when no size within the rules has this shape."""
    if shape.size:
        return shape.size if _within_rules(*shape.size) else None
    return _largest(*shape.ratio) if shape.ratio else SQUARE


def _within_rules(width: int, height: int) -> bool:
    return min(width, height) >= SHORTEST_SIDE and width * height <= MOST_PIXELS


@lru_cache(maxsize=256)
def _largest(across: int, down: int) -> tuple[int, int] | None:
    """The size of most pixels; of two, the one nearer to the ratio."""
    if across < down:
        turned = _largest(down, across)
        return (turned[1], turned[0]) if turned else None
    longest = MOST_PIXELS // SHORTEST_SIDE
    sizes = ((min(longest, MOST_PIXELS // height), height) for height in range(SHORTEST_SIDE, longest + 1))
    shapely = [
        fitted for size in sizes for fitted in _narrowed(*size, across, down) if _within_rules(*fitted)
    ]
    return max(shapely, key=lambda size: (size[0] * size[1], -_error(*size, across, down)), default=None)


def _narrowed(width: int, height: int, across: int, down: int) -> list[tuple[int, int]]:
    """The widest size of this height that is not wider than 1 % above the ratio, if it is wide enough."""
    widest = min(width, 101 * height * across // (100 * down))
    return [(widest, height)] if _error(widest, height, across, down) <= 0.01 else []  # noqa: PLR2004


def _error(width: int, height: int, across: int, down: int) -> float:
    """How far the size is from the ratio, as a share of it; the same for a size and ratio both turned."""
    left, right = width * down, height * across
    return max(left, right) / min(left, right) - 1 if left and right else float("inf")
