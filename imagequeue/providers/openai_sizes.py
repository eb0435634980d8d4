"""The three sizes that OpenAI's image models make. Omixa has the same."""

from __future__ import annotations

from imagequeue.domain.images import Shape
from imagequeue.providers.ratios import ratio_among

_SIZE_OF_RATIO = {"1:1": "1024x1024", "2:3": "1024x1536", "3:2": "1536x1024"}


def size_name(shape: Shape) -> str | None:
    """The request's `size` for a shape: `auto` or one of the three; None when none has the shape."""
    if shape.size:
        return str(shape) if str(shape) in _SIZE_OF_RATIO.values() else None
    ratio = ratio_among(shape, tuple(_SIZE_OF_RATIO))
    return _SIZE_OF_RATIO[ratio] if ratio else "auto" if shape.ratio is None else None


def size_refusal(upstream: str, shape: Shape) -> str | None:
    """The reason why an upstream with these sizes cannot serve the shape."""
    if size_name(shape):
        return None
    sizes = ", ".join(f"{size} ({ratio})" for ratio, size in _SIZE_OF_RATIO.items())
    return f"{upstream} has no size for {shape}: it takes auto, {sizes}"
