"""Checks that the images that came are those that were asked for, and writes them to files."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cli.demo.errors import DemoFailed
from cli.demo.orders import Order


def save_checked(content: bytes, order: Order, path: Path) -> tuple[int, int]:
    """Check an image and write it; its width and height in pixels.

    Raises:
        DemoFailed: it does not decode, is not PNG, or has another shape.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            found, size = image.format, image.size
    except (UnidentifiedImageError, OSError) as wrong:
        raise DemoFailed(f"{path.name} is not an image: {wrong}") from None
    if found != "PNG" or not order.fits(*size):
        raise DemoFailed(f"{path.name} is {found} of {size}, where PNG of {order.ratio} was asked for")
    path.write_bytes(content)
    return size
