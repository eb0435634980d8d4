"""Input images: upright, in few formats, with nothing but the picture in them."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest
from PIL import Image, ImageCms

from imagequeue.domain.errors import InvalidRequest
from imagequeue.media.inputs import MOST_INPUT_BYTES, SENT_PIXELS, prepare_input, prepare_mask
from tests.media.pictures import encoded, picture


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


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_large_input_is_scaled_to_what_upstreams_look_at(kind: str, turned: bool) -> None:  # noqa: FBT001
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    options: dict[str, Any] = {} if kind == "gif" else {"exif": exif}
    turns = turned and kind != "gif"
    image = prepare_input(picture(kind, size=(4_000, 3_000), **options))
    across, down = (image.height, image.width) if turns else (image.width, image.height)
    assert SENT_PIXELS * 0.99 < across * down <= SENT_PIXELS
    assert across / down == pytest.approx(4 / 3, rel=0.001)
    with Image.open(io.BytesIO(image.content)) as made:
        assert made.size == (image.width, image.height)
        darkest, lightest = made.convert("L").getextrema()
    assert darkest == 0, "it is the whole picture"
    assert lightest == 255


def test_a_jpeg_of_twice_the_sides_is_decoded_at_half_its_size() -> None:
    image = prepare_input(picture("jpeg", size=(6_300, 6_300), mode="L"))
    assert (image.width, image.height) == (3072, 3072)


def test_a_mask_is_scaled_as_its_picture_and_keeps_its_edges() -> None:
    hole = Image.new("RGBA", (4_000, 3_000), (10, 20, 30, 255))
    hole.paste((10, 20, 30, 0), (1_000, 1_000, 2_001, 2_001))
    mask, image = prepare_mask(encoded(hole, "png")), prepare_input(picture("png", size=(4_000, 3_000)))
    assert (mask.width, mask.height) == (image.width, image.height)
    with Image.open(io.BytesIO(mask.content)) as made:
        assert {colour for _, colour in made.getcolors() or ()} == {(10, 20, 30, 255), (10, 20, 30, 0)}
