"""Percent-encoding (RFC 3986, section 2.1) of texts as long as an image, decoded in slices.

Decoding such a text at once would keep the interpreter from all other threads for a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

_SLICE = 64 * 1024
"""Characters decoded in one step: the library holds an object for each escape, 80 times its length."""


def percent_decoded(text: str, begin: int = 0) -> Iterator[bytes]:
    """As `urllib.parse.unquote_to_bytes` of the text from `begin` on; half a character becomes `?`."""
    at = begin
    while at < len(text):
        end = at + _SLICE
        if end < len(text):
            cut = text.rfind("%", end - 2, end)  # an escape is not cut in two
            end = cut if cut > at else end
        part = text[at:end].encode("utf-8", "replace")
        yield unquote_to_bytes(part) if b"%" in part else part
        at = end
