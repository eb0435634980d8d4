"""Images that upstreams made: checked, and converted when another format was asked for."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import structlog
from PIL import Image

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.images import MEDIA_TYPES, OutputFormat
from imagequeue.domain.upstream import Unavailable
from imagequeue.media.child import (
    ANSWER_LIMITS,
    ChildFailed,
    ChildLimits,
    ChildUnavailable,
    prepare,
)
from imagequeue.media.colours import in_eight_bits, in_mode, turn_upright, with_rgb_profile
from imagequeue.media.decoding import UnusableImage, decode_pruned, header_of

log = structlog.get_logger()

MOST_OUTPUT_BYTES = 64 * 1024 * 1024
"""The most for one image of an answer (docs/design/pipeline.md, "An attempt")."""

MOST_OUTPUT_PIXELS = 25_000_000
"""More than 4096 x 4096, the largest size that an upstream documents. Decoded, the image takes 100 MB."""

_SAVE: dict[OutputFormat, dict[str, Any]] = {
    "png": {"compress_level": 6},
    "jpeg": {"quality": 92, "optimize": True},
    "webp": {"quality": 90, "method": 4},
}


def check_output(
    content: bytes, output_format: OutputFormat, *, limits: ChildLimits = ANSWER_LIMITS
) -> EncodedImage:
    """Decode an upstream's image, and convert it unless it has the asked format already.

    An image in the asked format is passed on byte for byte, provenance marks included, unless decoders choke
    on its metadata; then it is passed on without. A converted one is turned upright, and keeps its colour
    profile (if that is one for RGB) and no other metadata.

    One that needs more memory than this process gives to a picture is checked in a child. If the child fails,
    the image is passed on as it came, because it is paid for.

    Raises:
        Unavailable: it is not an image that decodes, or too large.
    """
    if len(content) > MOST_OUTPUT_BYTES:
        raise Unavailable(f"an image has more than {MOST_OUTPUT_BYTES // 2**20} MiB")
    try:
        here = partial(in_format, content, output_format)
        return prepare(output_format, content, here, most_pixels=MOST_OUTPUT_PIXELS, limits=limits)
    except UnusableImage as error:
        raise Unavailable(f"an image is unusable: {error}") from error
    except (ChildFailed, ChildUnavailable) as error:
        log.warning("answer_kept_undecoded", reason=str(error))
        return _as_received(content)


def _as_received(content: bytes) -> EncodedImage:
    """A paid image that could not be decoded for a reason of ours: its header describes it."""
    with header_of(content) as header:
        return EncodedImage(content, Image.MIME[header.format or ""], header.width, header.height)


def check_stored(content: bytes) -> EncodedImage:
    """Decode an image that was stored, and describe it as it is, in whatever format.

    Raises:
        Unavailable: as `check_output`.
    """
    try:
        with header_of(content) as header:
            known: OutputFormat | None = next(
                (name for name in MEDIA_TYPES if name.upper() == header.format), None
            )
    except UnusableImage as error:
        raise Unavailable(f"an image is unusable: {error}") from error
    return check_output(content, known) if known else _as_received(content)


def in_format(content: bytes, output_format: OutputFormat) -> EncodedImage:
    """Decode an upstream's image and convert it, whatever memory that takes.

    Raises:
        UnusableImage: it does not decode, or has more than `MOST_OUTPUT_PIXELS`.
    """
    image, content = decode_pruned(content, most_pixels=MOST_OUTPUT_PIXELS)
    if image.format == output_format.upper():
        return EncodedImage(content, MEDIA_TYPES[output_format], image.width, image.height)
    turn_upright(image)
    converted = encode(image, output_format)
    return EncodedImage(converted, MEDIA_TYPES[output_format], image.width, image.height)


def encode(image: Image.Image, output_format: OutputFormat, **options: Any) -> bytes:
    """Encode pixels, with a profile for RGB and no other metadata; JPEG gets a white background.

    The image may lose its metadata, because it is not copied where it has the mode to encode already.
    """
    image = with_rgb_profile(in_eight_bits(image))
    plain = _without_alpha(image) if output_format == "jpeg" else _in_colour(image)
    profile = image.info.get("icc_profile")
    buffer = io.BytesIO()
    with_options = {**_SAVE[output_format], **options}
    plain.info = {}
    plain.save(buffer, output_format.upper(), icc_profile=profile, **with_options)
    return buffer.getvalue()


def _in_colour(image: Image.Image) -> Image.Image:
    return in_mode(image, "RGBA" if image.has_transparency_data else "RGB")


def _without_alpha(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return in_mode(image, "RGB")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(in_mode(image, "RGBA"))
    return white.convert("RGB")
