"""Percent-encoding (RFC 3986, section 2.1) of texts as long as an image."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

_SLICE = 64 * 1024
"""Bytes that are decoded in one step: the library holds an object for each escape, 80 times its length."""


def percent_decoded(text: bytes) -> bytes:
    """As `urllib.parse.unquote_to_bytes`, in memory that is in proportion to the text."""
    decoded, at = bytearray(), 0
    while at < len(text):
        end = at + _SLICE
        if end < len(text):
            cut = text.rfind(b"%", end - 2, end)  # an escape is not cut in two
            end = cut if cut > at else end
        decoded += unquote_to_bytes(text[at:end])
        at = end
    return bytes(decoded)
