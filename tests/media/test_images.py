"""What upstreams and clients send as images."""

from __future__ import annotations

import io
import threading
import tracemalloc
from typing import Any, cast

import pytest
from PIL import Image, ImageCms

from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import OutputFormat
from imagequeue.domain.upstream import Unavailable
from imagequeue.media.decoding import media_type_of
from imagequeue.media.gate import Gate
from imagequeue.media.images import check_output
from imagequeue.media.inputs import MOST_INPUT_BYTES, prepare_input, prepare_mask
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
    assert image.media_type == f"image/{asked}" == media_type_of(image.content)
    with Image.open(io.BytesIO(image.content)) as made:
        made.load()
        assert (made.size, made.format) == ((40, 30), asked.upper())
    assert (image.width, image.height) == (40, 30)


def test_output_in_the_asked_format_is_passed_on_byte_for_byte() -> None:
    assert check_output(picture(), "png").content == picture()


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
    assert mask.media_type == "image/png" == media_type_of(mask.content)
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


def test_gate_lets_its_number_in_and_a_thread_twice() -> None:
    gate, inside, release = Gate(1), threading.Event(), threading.Event()

    def hold() -> None:
        with gate, gate:
            inside.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(10)
    entered = threading.Event()

    def enter() -> None:
        with gate:
            entered.set()

    waiter = threading.Thread(target=enter)
    waiter.start()
    assert not entered.wait(0.1)
    release.set()
    assert entered.wait(10)
    holder.join(10)
    waiter.join(10)
