"""Small images for tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image


def picture(kind: str = "png", size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    """A gradient as a file of the kind."""
    gradient = Image.linear_gradient("L")
    image = gradient.resize(size).convert(mode)  # pyright: ignore[reportUnknownMemberType]
    return encoded(image, kind, **options)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file of the kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), **options)
    return buffer.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """A valid PNG header that claims side x side pixels, with next to nothing behind it."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
