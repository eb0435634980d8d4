"""Things that upstreams send in place of an image."""

import functools
import struct
import zlib
from collections.abc import Iterator
from typing import Literal

Spoil = Literal["not_an_image", "bomb", "oversized", "truncated"]

BOMB_SIDE = 30_000  # pixels: 900 megapixels, far above every limit
NOT_AN_IMAGE = b"The image is being prepared. This text was sent in its place.\n" * 8
# Stands in the answer where `wire.py` sends filler, so that the body becomes far too large.
OVERSIZED_MARK = b"here the simulator sends filler in place of an image"


@functools.cache
def bomb() -> bytes:
    """A valid black-and-white PNG of about 110 kB that decodes to 30,000 x 30,000 pixels."""
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    data = b"".join(_compressed_rows())
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _compressed_rows() -> Iterator[bytes]:
    rows = 1000
    block = bytes(rows * (1 + (BOMB_SIDE + 7) // 8))
    packer = zlib.compressobj(9)
    for _ in range(0, BOMB_SIDE, rows):
        yield packer.compress(block)
    yield packer.flush()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
