"""Images without the metadata on which a decoder chokes: what is left are the pixels, and how to show them.

Decoders limit what stands beside the pixels, and refuse the whole image: Pillow takes at most 1 MiB of a
compressed text or profile of a PNG, no chunk of it with a wrong check sum, and no marker of a JPEG that is
too short. Such an image is a picture all the same, and every browser shows it. So it is cut down to what
decides how its pixels look, and decoded again. Nothing is unpacked here beyond `MOST_PROFILE_BYTES`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

MOST_PROFILE_BYTES = 1024 * 1024
"""A larger colour profile is dropped: real ones have up to 600 KiB, and Pillow reads no more in a PNG."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_MOST_EXIF_BYTES = 64 * 1024
"""The most in a JPEG: it has the orientation, and perhaps a small copy of the image."""

_SCAN, _COMMENT = 0xDA, 0xFE
_JFIF, _EXIF, _PROFILE, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
_APPLICATION = range(0xE0, 0xF0)
_ADOBE_BYTES = 12
"""The least that its marker holds: the last byte says how colours are coded."""


def without_metadata(content: bytes) -> bytes | None:
    """A PNG or JPEG without what does not decide how its pixels look; None for any other bytes."""
    if content.startswith(_PNG):
        return _PNG + b"".join(_kept_chunks(content))
    if content.startswith(_JPEG):
        return _JPEG + b"".join(_kept_segments(content))
    return None


def _kept_chunks(content: bytes) -> Iterator[bytes]:
    """The chunks of a PNG that are kept; a broken end is passed on, for the decoder to judge."""
    at = len(_PNG)
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        chunk = content[at : at + size + 12]
        if kind in _PIXELS or _is_worth_keeping(kind, chunk, size):
            yield chunk
        if kind == b"IEND":
            return
        at += size + 12


def _is_worth_keeping(kind: bytes, chunk: bytes, size: int) -> bool:
    """Whether an ancillary chunk says how to show the pixels, and a decoder will take it."""
    if len(chunk) != size + 12 or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    if kind == b"eXIf":
        return size <= _MOST_EXIF_BYTES
    return kind == b"iCCP" and _is_usual_profile(chunk[8:-4])


def _is_usual_profile(data: bytes) -> bool:
    _, _, packed = data.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed[1:], MOST_PROFILE_BYTES)
    except zlib.error:
        return False
    return unpacker.eof


def _kept_segments(content: bytes) -> Iterator[bytes]:
    """The segments of a JPEG before its first scan that are kept, and everything from there on."""
    at, profile_bytes = len(_JPEG), 0
    while at + 4 <= len(content) and content[at] == 0xFF:  # noqa: PLR2004  # begins every marker
        kind, size = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if kind == 0xFF:  # noqa: PLR2004  # a fill byte
            at += 1
            continue
        if kind == _SCAN:
            break
        segment = content[at : at + size + 2]
        profile_bytes += size if kind == _PROFILE else 0
        if _is_kept(kind, segment) and (kind != _PROFILE or profile_bytes <= MOST_PROFILE_BYTES):
            yield segment
        at += size + 2
    yield content[at:]


def _is_kept(kind: int, segment: bytes) -> bool:
    if kind == _EXIF:
        return segment[4:].startswith(b"Exif\0\0")
    if kind == _PROFILE:
        return segment[4:].startswith(b"ICC_PROFILE\0")
    if kind == _ADOBE:
        return len(segment) >= _ADOBE_BYTES + 4
    return kind == _JFIF or (kind != _COMMENT and kind not in _APPLICATION)
