"""Find a shape among the aspect ratios of an upstream."""

from __future__ import annotations

from imagequeue.domain.images import Shape


def ratio_among(shape: Shape, allowed: tuple[str, ...]) -> str | None:
    """The allowed ratio that equals the shape's (42:18 equals 21:9); None for another ratio or a size."""
    if shape.ratio is None:
        return None
    across, down = shape.ratio
    pairs = ((text, *map(int, text.split(":"))) for text in allowed)
    return next((text for text, left, right in pairs if across * right == down * left), None)


def ratio_refusal(upstream: str, shape: Shape, allowed: tuple[str, ...]) -> str | None:
    """The reason why an upstream that takes `auto` and these ratios cannot serve the shape."""
    if str(shape) == "auto" or ratio_among(shape, allowed):
        return None
    return f"{upstream} has no {shape}: it takes auto, {', '.join(allowed)}"
