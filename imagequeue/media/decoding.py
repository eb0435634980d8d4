"""From bytes to pixels, without trusting the bytes.

The size is read from the header first, so a bomb (a small file that claims 30,000 x 30,000) is refused
before a pixel of it is decoded. Only formats with hardened decoders are opened. Decoders raise whatever
hostile bytes lead them to, so any exception of theirs means that this service does not take the image, unless
it decodes without its metadata.
"""

from __future__ import annotations

import io
import math

from PIL import Image, PngImagePlugin

from imagequeue.media.pruning import without_metadata

MOST_PIXELS = 50_000_000
"""The most for an input image (docs/design/protocols.md, "Input and output images"): 200 MB when decoded."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")

PngImagePlugin.MAX_TEXT_MEMORY = 2 * PngImagePlugin.MAX_TEXT_CHUNK
"""Bytes of unpacked text in a PNG, which Pillow reads with the header: up to 64 MiB, if nothing is set. A PNG
with more is decoded without its metadata."""


class UnusableImage(Exception):
    """The bytes are not an image that this service takes; the message says why."""


class TooLargeImage(UnusableImage):
    """What was made of it has too many bytes; the message is a whole one."""


class TooManyPixels(UnusableImage):
    """Its header announces more pixels than the caller takes."""


def decode(content: bytes, *, wanted_pixels: int) -> Image.Image:
    """Decode the first frame of an input image completely. Call it inside `gate.decoding`.

    A JPEG with twice the sides of the wanted pixels or more is decoded at a half, a quarter or an eighth.

    Raises:
        UnusableImage: not an image, truncated, or of more than `MOST_PIXELS`.
    """
    image, _ = decode_pruned(content, most_pixels=MOST_PIXELS, wanted_pixels=wanted_pixels)
    return _without_canvases(image) if image.format == "WEBP" else image


def decode_pruned(
    content: bytes, *, most_pixels: int, wanted_pixels: int | None = None
) -> tuple[Image.Image, bytes]:
    """As `decode`; and the bytes that any decoder takes: without metadata, where these were the trouble.

    Raises:
        UnusableImage: not an image, truncated, or of more than `most_pixels`.
    """
    try:
        return _decoded(content, most_pixels, wanted_pixels), content
    except TooManyPixels:
        raise
    except UnusableImage:
        pruned = without_metadata(content)
        if pruned is None or len(pruned) == len(content):
            raise
    return _decoded(pruned, most_pixels, wanted_pixels), pruned


def header_of(content: bytes) -> Image.Image:
    """The picture with its size, mode and format, of which no pixel is decoded yet.

    Raises:
        UnusableImage: there is no header that can be read, with the metadata or without.
    """
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception as error:  # hostile bytes may raise anything
        pruned = without_metadata(content)
        if pruned is None or len(pruned) == len(content):
            raise UnusableImage("it cannot be decoded as PNG, JPEG, WebP or GIF") from error
        return header_of(pruned)


def _decoded(content: bytes, most_pixels: int, wanted_pixels: int | None) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        require_pixels(image, most_pixels)
        if wanted_pixels is not None:
            image.draft(None, scaled_size(image.size, wanted_pixels))
        image.load()
    except (UnusableImage, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooManyPixels(f"it has more than {most_pixels // 1_000_000} megapixels") from None
    except Exception as error:
        raise UnusableImage("it cannot be decoded as PNG, JPEG, WebP or GIF") from error
    return image


def _without_canvases(image: Image.Image) -> Image.Image:
    """A copy without the decoder of the animation, whose canvases have twice the memory of the pixels."""
    copy = image.copy()
    copy.format = image.format
    return copy


def scaled_size(size: tuple[int, int], most_pixels: int) -> tuple[int, int]:
    """Width and height of the same shape, at most so many pixels; unchanged where there are no more."""
    width, height = size
    if width * height <= most_pixels:
        return size
    scale = math.sqrt(most_pixels / (width * height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def require_pixels(image: Image.Image, most_pixels: int) -> None:
    """Refuse an image whose header announces more pixels.

    Raises:
        TooManyPixels: and says how many it has.
    """
    if image.width * image.height > most_pixels:
        raise TooManyPixels(
            f"it has {image.width} x {image.height} pixels, more than {most_pixels // 1_000_000} megapixels"
        )
