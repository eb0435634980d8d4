"""Orientation, depth and colours: what the metadata say about the pixels is applied to the pixels.

Encoded images are RGB with eight bits a channel, and their metadata is at most a profile for RGB. So an image
is turned as its orientation says, wider values are scaled down, and another profile is converted to sRGB.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any, cast

from PIL import Image, ImageCms, ImageOps

from imagequeue.media.pruning import MOST_PROFILE_BYTES

_PROFILE = "icc_profile"
_UNREADABLE = (ImageCms.PyCMSError, OSError, ValueError)
# The mode without transparency, by mode: ImageCms converts no alpha channel.
_OPAQUE = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "LA": "L", "1": "L"}
_STEPS = 257
"""A value of sixteen bits divided by this is one of eight: 65535 / 255."""


def turn_upright(image: Image.Image) -> None:
    """Turn the image as its metadata say; it stays as it is where they cannot be read. No copy remains."""
    with suppress(Exception):  # hostile metadata may raise anything; the pixels are good
        ImageOps.exif_transpose(image, in_place=True)


def in_eight_bits(image: Image.Image) -> Image.Image:
    """The image with its sixteen bits of grey scaled to eight; converting alone would clip them to white."""
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    wide = image if image.mode in {"I", "I;16"} else image.convert("I")
    scaled = wide.point(lambda value: value * (1 / _STEPS)).convert("L")  # pyright: ignore[reportUnknownMemberType]
    transparent = scaled.info.get("transparency")
    if isinstance(transparent, int):
        scaled.info["transparency"] = transparent // _STEPS
    return scaled


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in this mode; itself where it has it, because Pillow would make a copy."""
    return image if image.mode == mode else image.convert(mode)


def in_srgb(image: Image.Image) -> Image.Image:
    """The image without its profile, its colours converted; a profile that cannot be read is dropped."""
    profile = image.info.pop(_PROFILE, None)
    if not profile:
        return image
    try:
        turned = _converted(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except _UNREADABLE:
        return image
    turned.info.pop(_PROFILE, None)
    return turned


def with_rgb_profile(image: Image.Image) -> Image.Image:
    """The image unchanged if it has a profile for RGB of usual size; with another it is converted to sRGB."""
    return image if _is_for_rgb(image.info.get(_PROFILE)) else in_srgb(image)


def _is_for_rgb(profile: bytes | None) -> bool:
    if not profile or len(profile) > MOST_PROFILE_BYTES:
        return False
    try:
        read = cast("Any", ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile)
    except _UNREADABLE:
        return False
    return read.xcolor_space.strip() == "RGB"


def _converted(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    """Convert to sRGB and put the transparency back unchanged."""
    srgb = cast("Any", ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    plain = image.convert("RGBA") if alpha and image.mode in {"P", "PA"} else image
    plain = plain.convert(_OPAQUE.get(plain.mode, plain.mode))
    made = ImageCms.profileToProfile(plain, source, srgb, outputMode="RGB") or plain
    if alpha:
        made.putalpha(alpha)
    return made
