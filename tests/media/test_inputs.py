"""Input images: upright, in few formats, with nothing but the picture in them."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest
from PIL import Image, ImageCms

from imagequeue.domain.errors import InvalidRequest
from imagequeue.media.inputs import MOST_INPUT_BYTES, prepare_input, prepare_mask
from tests.media.pictures import picture


def test_input_is_turned_upright_and_carries_nothing_else() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    exif[0x010F] = "A camera with a name"
    source = picture("jpeg", size=(40, 30), exif=exif)
    image = prepare_input(source)
    assert (image.width, image.height, image.media_type) == (30, 40, "image/jpeg")
    with Image.open(io.BytesIO(image.content)) as made:
        assert made.size == (30, 40)
        assert not made.getexif()
    assert b"camera" not in image.content


@pytest.mark.parametrize(
    ("kind", "becomes"), [("webp", "png"), ("gif", "png"), ("png", "png"), ("jpeg", "jpeg")]
)
def test_input_becomes_png_or_jpeg(kind: str, becomes: str) -> None:
    image = prepare_input(picture(kind))
    assert image.media_type == f"image/{becomes}"
    assert prepare_input(picture(kind)).content == image.content


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_masks_become_png(kind: str) -> None:
    mask = prepare_mask(picture(kind, mode="RGBA" if kind != "jpeg" else "RGB"))
    assert mask.media_type == "image/png"
    with Image.open(io.BytesIO(mask.content)) as made:
        assert made.format == "PNG"
    assert (mask.width, mask.height) == (40, 30)


def test_input_profile_is_converted_and_a_broken_one_dropped() -> None:
    made_profile = cast("Any", ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
    profile = ImageCms.ImageCmsProfile(made_profile).tobytes()
    for given in (profile, b"no profile at all"):
        with Image.open(io.BytesIO(prepare_input(picture("jpeg", icc_profile=given)).content)) as made:
            assert "icc_profile" not in made.info


def test_input_above_20_mib_is_refused_unread() -> None:
    with pytest.raises(InvalidRequest, match="mask: the image has more than 20 MiB"):
        prepare_input(bytes(MOST_INPUT_BYTES + 1), name="mask")
