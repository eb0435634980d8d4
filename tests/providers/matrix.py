"""Operation x provider x shape x format x count, and a pairwise selection of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from imagequeue.domain.catalog import ProviderName
from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.images import Operation, OutputFormat, Requirement, Shape
from imagequeue.providers.provider import Call
from imagequeue.providers.registry import PROVIDERS
from tests.media.pictures import picture

Ask = tuple[Operation, ProviderName, str, OutputFormat, int]

OPERATIONS: tuple[Operation, ...] = ("generate", "edit")
FORMATS: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
RATIOS = ("21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16")
SIZES = ("1024x1024", "1365x768", "1536x1024", "1024x1536", "512x512")
COUNTS = (1, 2, 3, 4, 10)
AXES = (OPERATIONS, tuple(PROVIDERS), ("auto", *RATIOS, *SIZES), FORMATS, COUNTS)
OPTIONS = {
    "quality": "high",
    "background": "opaque",
    "moderation": "low",
    "input_fidelity": "high",
    "temperature": 0.5,
    "max_tokens": 100,
    "max_completion_tokens": 200,
}


def every_ask() -> Iterator[Ask]:
    """The whole matrix."""
    return itertools.product(*AXES)  # type: ignore[return-value]  # the axes have these types in this order


def requirement_of(ask: Ask) -> Requirement:
    """The ask as the router sees it."""
    operation, _, shape, output_format, count = ask
    return Requirement(
        operation=operation,
        shape=Shape.parse(shape),
        image_count=count,
        output_format=output_format,
        input_count=1 if operation == "edit" else 0,
    )


def calls_of(ask: Ask, per_call: int) -> list[Call]:
    """The calls that serve the ask: as few as the upstream lets it be."""
    operation, _, shape, output_format, count = ask
    full, rest = divmod(count, per_call)
    return [
        Call(
            prompt="A lamp on a desk – at night",
            operation=operation,
            image_count=images,
            shape=Shape.parse(shape),
            output_format=output_format,
            options=OPTIONS,
            input_images=(input_image(),) if operation == "edit" else (),
        )
        for images in [per_call] * full + [rest] * bool(rest)
    ]


def input_image(kind: str = "png") -> EncodedImage:
    """A small image to edit."""
    return EncodedImage(picture(kind, size=(96, 64)), f"image/{kind}", 96, 64)


def pairwise(asks: Iterable[Ask]) -> list[Ask]:
    """Few asks in which every pair of values that occurs together in `asks` does so at least once."""
    left = list(asks)
    uncovered = {pair for ask in left for pair in _pairs(ask)}
    chosen: list[Ask] = []
    while uncovered:
        best = max(left, key=lambda ask: len(uncovered & _pairs(ask)))
        uncovered -= _pairs(best)
        chosen.append(best)
    return chosen


def _pairs(ask: Ask) -> set[tuple[tuple[int, object], tuple[int, object]]]:
    return set(itertools.combinations(enumerate(ask), 2))
