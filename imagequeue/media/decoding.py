"""From bytes to pixels, without trusting the bytes.

The size is read from the header first, so a bomb (a small file that claims 30,000 x 30,000) is refused
before a pixel of it is decoded. Only formats with hardened decoders are opened. Decoders raise whatever
hostile bytes lead them to, so any exception of theirs means that this service does not take the image, unless
it decodes without its metadata.
"""

from __future__ import annotations

import io

from PIL import Image

from imagequeue.media.pruning import without_metadata

MOST_PIXELS = 50_000_000
"""The most for an input image (docs/design/protocols.md, "Input and output images"): 200 MB when decoded."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


class UnusableImage(Exception):
    """The bytes are not an image that this service takes; the message says why."""


class TooManyPixels(UnusableImage):
    """Its header announces more pixels than the caller takes."""


def decode(content: bytes) -> Image.Image:
    """Decode the first frame of an input image completely. Call it inside `gate.DECODING`.

    Raises:
        UnusableImage: not an image, truncated, or of more than `MOST_PIXELS`.
    """
    return decode_pruned(content, most_pixels=MOST_PIXELS)[0]


def decode_pruned(content: bytes, *, most_pixels: int) -> tuple[Image.Image, bytes]:
    """As `decode`; and the bytes that any decoder takes: without metadata, where these were the trouble.

    Raises:
        UnusableImage: not an image, truncated, or of more than `most_pixels`.
    """
    try:
        return _decoded(content, most_pixels), content
    except TooManyPixels:
        raise
    except UnusableImage:
        pruned = without_metadata(content)
        if pruned is None or len(pruned) == len(content):
            raise
    return _decoded(pruned, most_pixels), pruned


def _decoded(content: bytes, most_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        _require_pixels(image, most_pixels)
        image.load()
    except (UnusableImage, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooManyPixels(f"it has more than {most_pixels // 1_000_000} megapixels") from None
    except Exception as error:
        raise UnusableImage("it cannot be decoded as PNG, JPEG, WebP or GIF") from error
    return image


def _require_pixels(image: Image.Image, most_pixels: int) -> None:
    if image.width * image.height > most_pixels:
        raise TooManyPixels(
            f"it has {image.width} x {image.height} pixels, more than {most_pixels // 1_000_000} megapixels"
        )
