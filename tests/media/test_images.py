"""What upstreams and clients send as images."""

from __future__ import annotations

import io
import struct
import threading
import tracemalloc
from typing import Any, cast

import pytest
from PIL import Image, ImageCms

from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import OutputFormat
from imagequeue.domain.upstream import Unavailable
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
    assert image.media_type == f"image/{asked}"
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
