"""Paints real images that show their prompt, fast, because two cores serve the simulator and its clients.

A cached gradient, a few lines of text, weak compression: about 15 ms for a PNG of 1024 x 1024. Call `paint`
in a thread: it must not block the event loop, which measures the quotas.
"""

import functools
import io
import textwrap
import zlib
from dataclasses import dataclass
from random import Random
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

from simulator.spoiled import NOT_AN_IMAGE, OVERSIZED_MARK, Spoil, bomb

Format = Literal["png", "jpeg", "webp"]
Texture = Literal["smooth", "noise"]

MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

_SHADES = ("#1b3a5c", "#5c1b4a", "#1b5c43", "#5c4a1b", "#3d1b5c", "#5c241b")
_INPUT_SIDE = 512  # pixels of the longer side of an input image's copy, which saves time and memory
_INPUT_PIXELS = 50_000_000  # docs/design/protocols.md, "Input and output images"
_SMALLEST_TEXT = 12  # pixels: smaller type cannot be read


class UnreadableImageError(Exception):
    """The input image is not a readable PNG, JPEG or WebP of at most 50 megapixels."""


@dataclass(frozen=True, slots=True)
class InputImage:
    """An input image: its true size and format, and a small copy that the output shows."""

    size: tuple[int, int]
    format: Format
    copy: Image.Image


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is needed to paint one image. It is small, so it can wait in memory for a download."""

    text: str
    caption: str
    size: tuple[int, int]
    format: Format = "png"
    texture: Texture = "smooth"
    source: InputImage | None = None
    spoil: Spoil | None = None

    @property
    def media_type(self) -> str:
        """The MIME type that belongs to the format."""
        return MEDIA_TYPES[self.format]


def paint(picture: Picture) -> bytes:
    """The bytes of the image, or of what a fault puts in its place. Takes 5 to 100 ms of one core."""
    match picture.spoil:
        case "not_an_image":
            return NOT_AN_IMAGE
        case "bomb":
            return bomb()
        case "oversized":
            return OVERSIZED_MARK
        case "truncated":
            whole = _encode(_draw(picture), picture.format)
            return whole[: len(whole) // 2]
        case None:
            return _encode(_draw(picture), picture.format)


def read_input(data: bytes, allowed: tuple[Format, ...]) -> InputImage:
    """Decode an input image; raises UnreadableImageError, also for a format that is not in `allowed`."""
    try:
        with Image.open(io.BytesIO(data), formats=[name.upper() for name in allowed]) as image:
            name = (image.format or "").lower()
            size = image.size
            if size[0] * size[1] > _INPUT_PIXELS:
                raise UnreadableImageError("the image has more than 50 megapixels")
            image.draft("RGB", (_INPUT_SIDE, _INPUT_SIDE))
            copy = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, zlib.error) as error:
        raise UnreadableImageError(f"the image is not a readable {' or '.join(allowed)} file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError("the image has more than 50 megapixels") from error
    copy.thumbnail((_INPUT_SIDE, _INPUT_SIDE))
    return InputImage(size, "jpeg" if name == "jpeg" else "webp" if name == "webp" else "png", copy)


@functools.lru_cache(maxsize=16)
def _background(size: tuple[int, int], shade: str, texture: Texture) -> Image.Image:
    if texture == "noise":
        # Incompressible on purpose, and the same in every run; nothing secret depends on it.
        noise = Random(shade).randbytes(size[0] * size[1] * 3)  # noqa: S311
        return Image.frombytes("RGB", size, noise)
    gradient = Image.linear_gradient("L").resize(size)  # pyright: ignore[reportUnknownMemberType]  # numpy in its signature
    return ImageOps.colorize(gradient, black="#101014", white=shade)


def _draw(picture: Picture) -> Image.Image:
    shade = _SHADES[zlib.crc32(picture.text.encode()) % len(_SHADES)]
    image = _background(picture.size, shade, picture.texture).copy()
    if picture.source is not None:
        _paste_source(image, picture.source)
    margin = min(picture.size) // 20
    text, font = _fit(picture.text, (picture.size[0] - 2 * margin, picture.size[1] - 4 * margin))
    pen = ImageDraw.Draw(image)
    pen.multiline_text((margin, margin), text, font=font, fill="white", stroke_width=2, stroke_fill="black")
    small = _font(max(_SMALLEST_TEXT, margin // 2))
    pen.text((margin, picture.size[1] - 2 * margin), picture.caption, font=small, fill="#d0d0d0")
    return image


def _paste_source(image: Image.Image, source: InputImage) -> None:
    fitted = ImageOps.contain(source.copy, (image.width, image.height))
    image.paste(fitted, ((image.width - fitted.width) // 2, (image.height - fitted.height) // 2))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fit(text: str, room: tuple[int, int]) -> tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Wrap the text in the largest type in which it fits. In the smallest type the rest is cut off."""
    size = max(_SMALLEST_TEXT, min(room) // 16)
    while True:
        columns, rows = max(8, int(room[0] / (size * 0.56))), max(1, int(room[1] / (size * 1.35)))
        lines = textwrap.wrap(text[: columns * rows * 2], columns)
        if len(lines) <= rows or size <= _SMALLEST_TEXT:
            return "\n".join(lines[:rows]), _font(size)
        size = max(_SMALLEST_TEXT, size * 3 // 4)


def _encode(image: Image.Image, name: Format) -> bytes:
    buffer = io.BytesIO()
    match name:
        case "png":
            image.save(buffer, "PNG", compress_level=1)
        case "jpeg":
            image.save(buffer, "JPEG", quality=85)
        case "webp":
            image.save(buffer, "WEBP", quality=80, method=0)
    return buffer.getvalue()
