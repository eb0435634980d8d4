"""What upstreams send as images: checked, and converted to the format that was asked for."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from PIL import Image

from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import OutputFormat
from imagequeue.domain.upstream import Unavailable
from imagequeue.media.images import check_output
from imagequeue.media.inputs import prepare_input
from tests.media.pictures import bomb, encoded, picture

FORMATS: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
NOT_IMAGES = {
    "text": b"The image is being prepared.",
    "nothing": b"",
    "half a png": picture(size=(300, 300))[:300],
    "a bomb": bomb(),
    "a valid image with barely too many pixels": encoded(Image.new("1", (7_100, 7_100)), "png"),
    "only a header": picture()[:33],
    "a pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("given", FORMATS)
@pytest.mark.parametrize("asked", FORMATS)
def test_output_has_the_asked_format_and_tells_the_truth(given: OutputFormat, asked: OutputFormat) -> None:
    image = check_output(picture(given), asked)
    assert image.media_type == f"image/{asked}"
    with Image.open(io.BytesIO(image.content)) as made:
        made.load()
        assert (made.size, made.format) == ((40, 30), asked.upper())
    assert (image.width, image.height) == (40, 30)


def test_output_in_the_asked_format_is_passed_on_byte_for_byte() -> None:
    assert check_output(picture(), "png").content == picture()


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_what_is_not_an_image_is_unavailable_from_upstreams_and_invalid_from_clients(name: str) -> None:
    with pytest.raises(Unavailable):
        check_output(NOT_IMAGES[name], "png")
    with pytest.raises(InvalidRequest, match="image_urls: the image is unusable"):
        prepare_input(NOT_IMAGES[name], name="image_urls")


def test_a_bomb_is_refused_without_decoding_it() -> None:
    tracemalloc.start()
    with pytest.raises(Unavailable):
        check_output(bomb(), "jpeg")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("asked", ["png", "webp"])
def test_a_converted_output_is_turned_upright(asked: OutputFormat) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row as stored is the right-hand side
    stored = Image.new("RGB", (80, 40), "black")
    stored.paste("white", (0, 0, 80, 10))
    image = check_output(encoded(stored, "jpeg", exif=exif, quality=95), asked)
    assert (image.width, image.height) == (40, 80)
    with Image.open(io.BytesIO(image.content)) as made:
        assert (made.size, bool(made.getexif())) == ((40, 80), False)
        bright = made.convert("L")
        assert bright.getpixel((35, 40)) > 240  # type: ignore[operator]
        assert bright.getpixel((5, 40)) < 15  # type: ignore[operator]


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0", b"Exif\0\0nonsense"])
def test_metadata_that_cannot_be_read_turn_nothing_and_spoil_nothing(exif: bytes) -> None:
    source = picture("png", exif=exif)
    assert check_output(source, "webp").width == prepare_input(source).width == 40
