"""Images that clients send: decoded, turned upright, and re-encoded to what upstreams take.

The re-encoded image carries pixels and nothing else: no position, no camera, nothing hidden behind the end.
Colours are converted to sRGB, because no upstream says that it reads profiles.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import structlog
from PIL import Image
from PIL.Image import Resampling

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.errors import InvalidRequest, ServiceUnavailable
from imagequeue.domain.images import MEDIA_TYPES, OutputFormat
from imagequeue.media.child import (
    INPUT_LIMITS,
    ChildFailed,
    ChildLimits,
    ChildUnavailable,
    prepare,
)
from imagequeue.media.colours import in_eight_bits, in_mode, in_srgb, turn_upright
from imagequeue.media.decoding import (
    MOST_PIXELS,
    TooLargeImage,
    UnusableImage,
    decode,
    scaled_size,
)
from imagequeue.media.images import encode

log = structlog.get_logger()

MOST_INPUT_BYTES = 20 * 1024 * 1024
"""The most as sent and as re-encoded (docs/design/protocols.md, "Input and output images")."""

SENT_PIXELS = 3072 * 3072
"""A picture with more pixels is scaled down to so many, and its mask in the same way. It is the most that
Gemini looks at: it scales larger ones down itself (Google's documentation of input files)."""


def prepare_input(content: bytes, *, name: str = "image", limits: ChildLimits = INPUT_LIMITS) -> EncodedImage:
    """Make a PNG or JPEG of an input image; the same bytes always give the same result.

    Args:
        content: the bytes as they came.
        name: what the message calls the image, the field it came in.
        limits: what a child may take, where the picture needs one.

    Raises:
        InvalidRequest: larger than the limits, or not an image that decodes within a child's memory and time.
        ServiceUnavailable: it needs a child, and none can be started now.
    """
    return _prepared("input", content, name, limits)


def prepare_mask(content: bytes, *, name: str = "mask", limits: ChildLimits = INPUT_LIMITS) -> EncodedImage:
    """Make a PNG of a mask, whatever it came as: OpenAI takes no other.

    Raises:
        InvalidRequest: as `prepare_input`.
    """
    return _prepared("mask", content, name, limits)


def _prepared(task: Literal["input", "mask"], content: bytes, name: str, limits: ChildLimits) -> EncodedImage:
    try:
        return _made(task, content, limits)
    except TooLargeImage as error:
        raise InvalidRequest(f"{name}: {error}") from error
    except (UnusableImage, ChildFailed) as error:
        raise InvalidRequest(f"{name}: the image is unusable: {error}") from error
    except ChildUnavailable as error:
        log.warning("input_not_prepared", reason=str(error))
        raise ServiceUnavailable(f"{name}: the image cannot be prepared at the moment; try again") from error


def _made(task: Literal["input", "mask"], content: bytes, limits: ChildLimits) -> EncodedImage:
    if len(content) > MOST_INPUT_BYTES:
        raise _too_large()
    here = partial(reencoded, content, is_mask=task == "mask")
    return prepare(task, content, here, most_pixels=MOST_PIXELS, limits=limits)


def reencoded(content: bytes, *, is_mask: bool) -> EncodedImage:
    """Decode and re-encode an input image, whatever memory that takes.

    Raises:
        UnusableImage: it does not decode, or has too many pixels.
        TooLargeImage: it has too many bytes as re-encoded.
    """
    image = decode(content, wanted_pixels=SENT_PIXELS)
    kind: OutputFormat = "jpeg" if image.format == "JPEG" and not is_mask else "png"
    image = _scaled(in_eight_bits(image), Resampling.NEAREST if is_mask else Resampling.LANCZOS)
    turn_upright(image)
    image = in_srgb(image)
    made = _encoded(image, kind)
    if len(made) > MOST_INPUT_BYTES and not image.has_transparency_data and not is_mask:
        kind, made = "jpeg", _encoded(image, "jpeg")
    if len(made) > MOST_INPUT_BYTES:
        raise _too_large(f" as {kind}")
    return EncodedImage(made, MEDIA_TYPES[kind], image.width, image.height)


def _scaled(image: Image.Image, resampling: Resampling) -> Image.Image:
    """The image with at most `SENT_PIXELS`; one with fewer is returned itself.

    Pillow interpolates neither palettes nor single bits. A mask keeps its edges, and what it hides.
    """
    size = scaled_size(image.size, SENT_PIXELS)
    if size == image.size:
        return image
    if image.has_transparency_data:
        image = in_mode(image, "RGBA")
    elif image.mode in {"P", "1"}:
        image = image.convert("RGB" if image.mode == "P" else "L")
    return image.resize(size, resampling)  # pyright: ignore[reportUnknownMemberType]


def _encoded(image: Image.Image, kind: OutputFormat) -> bytes:
    if kind == "jpeg":
        return encode(image, kind, quality=95, subsampling=0, optimize=False)  # without a copy of all pixels
    return encode(image, kind, compress_level=4)


def _too_large(as_what: str = "") -> TooLargeImage:
    return TooLargeImage(f"the image has more than {MOST_INPUT_BYTES // 2**20} MiB{as_what}")
