"""Pictures that cost whoever decodes them many times their bytes, or that are none."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

_SIDE = 7000
"""Of a square of 49 megapixels: just below the 50 million that an input may have."""
_BEYOND = 30_000
"""Of a square that no header may claim."""


def _square(mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (_SIDE, _SIDE), "teal" if mode == "RGB" else 1)


def _noise() -> Image.Image:
    return Image.frombytes("RGB", (3_000, 3_000), os.urandom(27_000_000))


_WEBP, _GIF, _PNG = "49 megapixels in 36 bytes of WebP", "49 megapixels of GIF", "49 megapixels of PNG"

EXPENSIVE: Mapping[str, Callable[[], bytes]] = {
    _WEBP: lambda: _encoded(_square(), "WEBP", lossless=True, quality=0, method=0),
    _GIF: lambda: _encoded(_square("P"), "GIF"),
    _PNG: lambda: _encoded(_square(), "PNG"),
    "49 megapixels of JPEG": lambda: _encoded(_square(), "JPEG", quality=95),
    "17 MB of noise as JPEG": lambda: _encoded(_noise(), "JPEG", quality=90, subsampling=0),
}
"""Pictures that cost much, by what they are; each is made when it is asked for."""


def pictures() -> Sequence[tuple[str, bytes]]:
    """What is hostile about each, and its file. The first three are pictures."""
    whole = EXPENSIVE[_PNG]()
    return (
        (_WEBP, EXPENSIVE[_WEBP]()),
        (_GIF, EXPENSIVE[_GIF]()),
        (_PNG, whole),
        ("900 megapixels by its header", _claiming(_BEYOND)),
        ("49 megapixels of PNG that break off", whole[: len(whole) // 2]),
        ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='1' height='1'/></svg>"),
        ("no picture", bytes(range(256)) * 1024),
    )


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _claiming(side: int) -> bytes:
    """A PNG whose header claims side x side pixels, with next to nothing behind it."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
