"""Aspect ratio to size for Foundry: the largest size that the model accepts, within 1 % of the ratio.

The documented MAI models accept sizes with both sides at least 768 pixels and at most 1,048,576 pixels in all
(the Foundry document, "Request parameters"), so no ratio beyond about 16:9 has a size. For newer models the
catalog says `most_pixels` and `shortest_side`.

The sides are multiples of 16, because image models work in blocks of that size: another size is cut, scaled,
or refused. An exact size that a client asks for is sent as it is, as the document has no such rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from imagequeue.domain.catalog import Deployment
from imagequeue.domain.images import Shape

SHORTEST_SIDE = 768
"""Pixels, by the document."""
MOST_PIXELS = 1_048_576
"""Pixels of a whole image, by the document."""
BLOCK = 16
"""Pixels: sides of the sizes that are made from a ratio are multiples of it."""
SQUARE = (1024, 1024)


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The sizes that a model accepts, in pixels: of each side at least, of the whole image at most."""

    shortest_side: int = SHORTEST_SIDE
    most_pixels: int = MOST_PIXELS

    def accept(self, width: int, height: int) -> bool:
        """Whether the model makes this size."""
        return min(width, height) >= self.shortest_side and width * height <= self.most_pixels


def limits_of(deployment: Deployment) -> SizeLimits:
    """The limits of the deployment's model: the catalog's, or the document's."""
    return SizeLimits(
        deployment.shortest_side or SHORTEST_SIDE,
        deployment.most_pixels or MOST_PIXELS,
    )


def size_for(shape: Shape, limits: SizeLimits) -> tuple[int, int] | None:
    """Width and height in pixels; None when no accepted size has this shape."""
    if shape.size:
        return shape.size if limits.accept(*shape.size) else None
    return _largest(*shape.ratio, limits) if shape.ratio else SQUARE


@lru_cache(maxsize=256)
def _largest(across: int, down: int, limits: SizeLimits) -> tuple[int, int] | None:
    """The size with the most pixels; of two equal ones, the one nearer to the ratio `across:down`."""
    if across < down:
        turned = _largest(down, across, limits)
        return (turned[1], turned[0]) if turned else None
    shortest = -(-limits.shortest_side // BLOCK) * BLOCK
    longest = limits.most_pixels // shortest
    sizes = (
        (min(longest, limits.most_pixels // height), height) for height in range(shortest, longest + 1, BLOCK)
    )
    fitting = [
        fitted for size in sizes for fitted in _narrowed(*size, across, down) if limits.accept(*fitted)
    ]
    return max(fitting, key=lambda size: (size[0] * size[1], -_deviation(*size, across, down)), default=None)


def _narrowed(width: int, height: int, across: int, down: int) -> list[tuple[int, int]]:
    """The widest size of this height that is within 1 % of the ratio, as a list of one, or none."""
    widest = min(width, 101 * height * across // (100 * down)) // BLOCK * BLOCK
    return [(widest, height)] if _deviation(widest, height, across, down) <= 0.01 else []  # noqa: PLR2004


def _deviation(width: int, height: int, across: int, down: int) -> float:
    """How far the size is from the ratio, as a share of it. 3:4 is as far from 9:16 as 4:3 from 16:9."""
    left, right = width * down, height * across
    return max(left, right) / min(left, right) - 1 if left and right else float("inf")
