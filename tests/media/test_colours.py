"""Colours: modes, bits and profiles, converted without changing what one sees."""

from __future__ import annotations

import io
import struct
from typing import Any, cast

import pytest
from PIL import Image, ImageCms

from imagequeue.domain.images import OutputFormat
from imagequeue.media.images import check_output
from imagequeue.media.inputs import prepare_input
from tests.media.pictures import encoded, picture

FORMATS: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK"])
@pytest.mark.parametrize("asked", FORMATS)
def test_every_colour_mode_converts(mode: str, asked: OutputFormat) -> None:
    source = picture("tiff", mode=mode) if mode == "CMYK" else picture("png", mode=mode)
    if mode == "CMYK":
        source = picture("jpeg", mode=mode)
    assert check_output(source, asked).media_type == f"image/{asked}"


def test_transparency_becomes_white_in_jpeg_and_stays_in_webp() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(buffer, "PNG")
    with Image.open(io.BytesIO(check_output(buffer.getvalue(), "jpeg").content)) as flat:
        assert min(flat.convert("RGB").getpixel((4, 4))) > 250  # type: ignore[arg-type]
    with Image.open(io.BytesIO(check_output(buffer.getvalue(), "webp").content)) as kept:
        assert kept.mode == "RGBA"


def _sixteen_bits(values: list[int]) -> bytes:
    """A PNG of one row of grey with sixteen bits."""
    image = Image.new("I;16", (len(values), 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    return encoded(image, "png")


def _pixels(content: bytes, mode: str = "RGB") -> list[Any]:
    with Image.open(io.BytesIO(content)) as image:
        plain = image.convert(mode)
        return [plain.getpixel((x, 0)) for x in range(plain.width)]


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped() -> None:
    source = _sixteen_bits([0, 200, 1000, 32768, 60000, 65535])
    grey = [(0,) * 3, (0,) * 3, (3,) * 3, (127,) * 3, (233,) * 3, (255,) * 3]
    assert _pixels(prepare_input(source).content) == grey
    webp = _pixels(check_output(source, "webp").content, "L")
    assert all(abs(made - true[0]) < 12 for made, true in zip(webp, grey, strict=True))


def _linear_grey() -> bytes:
    """A profile for grey whose values are proportional to light: 55 of 255 looks like 128 in sRGB."""
    tags = {
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">I", 0),
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
    }
    table, data, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += struct.pack(">4sII", name, offset + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(">I4sI4s4s4s", offset + len(data), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    return head + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + table + data


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_profile_for_grey_is_converted_and_not_embedded_into_rgb(mode: str) -> None:
    grey = Image.new("L", (4, 4), 55)
    if mode == "LA":
        grey.putalpha(90)
    source = encoded(grey, "png", icc_profile=_linear_grey())
    for made in (check_output(source, "webp").content, prepare_input(source).content):
        with Image.open(io.BytesIO(made)) as image:
            assert "icc_profile" not in image.info
            red, _, _, alpha = cast("tuple[int, int, int, int]", image.convert("RGBA").getpixel((1, 1)))
        assert abs(red - 128) <= 3
        assert alpha == (90 if mode == "LA" else 255)


def test_a_profile_for_rgb_stays_with_a_converted_output() -> None:
    made_profile = cast("Any", ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
    profile = ImageCms.ImageCmsProfile(made_profile).tobytes()
    with Image.open(io.BytesIO(check_output(picture(icc_profile=profile), "jpeg").content)) as made:
        assert made.info["icc_profile"] == profile
