"""Ratios and resolutions, and the shape that they ask for."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from imagequeue.dialects.resolutions import Ratio, Resolution, shape_of
from imagequeue.domain.images import Shape

RATIO: TypeAdapter[str] = TypeAdapter(Ratio)


@pytest.mark.parametrize(
    ("ratio", "resolution", "shape"),
    [
        (None, None, "auto"),
        ("auto", "1K", "auto"),
        ("16:9", None, "16:9"),
        ("16:9", "1K", "16:9"),
        ("9:19.5", None, "6:13"),
        (None, "512", "512x512"),
        ("1:1", "4K", "4096x4096"),
        ("21:9", "2K", "3136x1344"),
    ],
)
def test_a_resolution_other_than_1k_is_an_exact_size(
    ratio: str | None, resolution: Resolution | None, shape: str
) -> None:
    assert str(shape_of(ratio, resolution)) == shape
    assert Shape.parse(shape) == shape_of(ratio, resolution)


@pytest.mark.parametrize("ratio", ["1:1", "21:9", "9:21", "8:1", "1:8", "4:5", "19.5:9"])
@pytest.mark.parametrize("resolution", ["512", "2K", "4K"])
def test_every_ratio_has_about_as_many_pixels_as_the_square(ratio: str, resolution: Resolution) -> None:
    width, height = shape_of(ratio, resolution).size or (0, 0)
    (square, _) = shape_of("1:1", resolution).size or (0, 0)
    assert width * height == pytest.approx(square**2, rel=0.1)
    assert (width % 16, height % 16) == (0, 0)
    across, _, down = ratio.partition(":")
    assert width / height == pytest.approx(float(across) / float(down), rel=0.12)


@pytest.mark.parametrize("given", ["", "1:0", "0:1", "1000:1", "1:1\n", "1x1", "1:1:1", "1.234:1", "-1:1"])
def test_what_is_no_ratio_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        RATIO.validate_python(given)
