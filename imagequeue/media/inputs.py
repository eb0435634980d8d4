"""Images that clients send: decoded, turned upright, and re-encoded to what upstreams take.

The re-encoded image carries pixels and nothing else: no position, no camera, nothing hidden behind the end.
Colours are converted to sRGB, because no upstream says that it reads profiles.
"""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import MEDIA_TYPES, OutputFormat
from imagequeue.media.colours import in_eight_bits, in_srgb, upright
from imagequeue.media.decoding import UnusableImage, decode
from imagequeue.media.gate import DECODING
from imagequeue.media.images import encode

MOST_INPUT_BYTES = 20 * 1024 * 1024
"""The most as sent and as re-encoded (docs/design/protocols.md, "Input and output images")."""


def prepare_input(content: bytes, *, name: str = "image") -> EncodedImage:
    """Make a PNG or JPEG of an input image; the same bytes always give the same result.

    Args:
        content: the bytes as they came.
        name: what the message calls the image, the field it came in.

    Raises:
        InvalidRequest: larger than the limits, or not an image that decodes.
    """
    if len(content) > MOST_INPUT_BYTES:
        raise InvalidRequest(f"{name}: the image has more than {MOST_INPUT_BYTES // 2**20} MiB")
    try:
        with DECODING, decode(content) as image:
            return _reencoded(image, name)
    except UnusableImage as error:
        raise InvalidRequest(f"{name}: the image is unusable: {error}") from error


def prepare_mask(content: bytes, *, name: str = "mask") -> EncodedImage:
    """Make a PNG of a mask, whatever it came as: OpenAI takes no other.

    Raises:
        InvalidRequest: as `prepare_input`.
    """
    mask = prepare_input(content, name=name)
    if mask.media_type == MEDIA_TYPES["png"]:
        return mask
    with DECODING, decode(mask.content) as image:
        return replace(mask, content=_encoded(image, "png"), media_type=MEDIA_TYPES["png"])


def _reencoded(image: Image.Image, name: str) -> EncodedImage:
    kind: OutputFormat = "jpeg" if image.format == "JPEG" else "png"
    turned = in_srgb(in_eight_bits(upright(image)))
    made = _encoded(turned, kind)
    if len(made) > MOST_INPUT_BYTES and not turned.has_transparency_data:
        kind, made = "jpeg", _encoded(turned, "jpeg")
    if len(made) > MOST_INPUT_BYTES:
        raise InvalidRequest(f"{name}: the image has more than {MOST_INPUT_BYTES // 2**20} MiB as {kind}")
    return EncodedImage(made, MEDIA_TYPES[kind], turned.width, turned.height)


def _encoded(image: Image.Image, kind: OutputFormat) -> bytes:
    if kind == "jpeg":
        return encode(image, kind, quality=95, subsampling=0)
    return encode(image, kind, compress_level=4)
