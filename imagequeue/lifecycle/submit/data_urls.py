"""Data URLs (RFC 2397) as clients write them, which browsers take: white space, no padding, escapes.

Source: WHATWG Fetch, "data: URL processor", and WHATWG Infra, "forgiving-base64 decode". Beyond those the
alphabet for URLs and file names (RFC 4648, section 5) is taken, because many libraries write it by default.
"""

from __future__ import annotations

import base64
import binascii
import re

from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.percent_encoding import percent_decoded
from imagequeue.media.inputs import MOST_INPUT_BYTES

_DATA_URL = re.compile(r"data:(?P<kind>[^,]{0,200}),", re.IGNORECASE)
_BASE64 = re.compile(r";\s*base64\s*\Z", re.IGNORECASE)
_WHITE_SPACE = b" \t\n\r\f\v"
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
_LONGEST_BASE64 = 4 * MOST_INPUT_BYTES // 3 + 4
"""Characters of the largest image in base64; more are refused before they are decoded."""
_LONGEST_ESCAPED = 3 * _LONGEST_BASE64
"""The same with every character as an escape (`%2B`)."""


def data_of(url: str, field: str) -> bytes:
    """The bytes of a data URL: base64, or percent-encoded.

    Raises:
        InvalidRequest: it is no data URL, its base64 is broken, or it is larger than an input may be.
    """
    head = _DATA_URL.match(url)
    if head is None:
        raise InvalidRequest(f"{field}: use an http(s) URL, or a data URL such as data:image/png;base64,...")
    if len(url) - head.end() > _LONGEST_ESCAPED:
        raise _too_large(field)
    if not _BASE64.search(head["kind"]):
        return percent_decoded(url[head.end() :].encode())
    return _decoded(_without_white_space(percent_decoded(url[head.end() :].encode())), field)


def _without_white_space(payload: bytes) -> bytes:
    return payload.translate(_URL_ALPHABET, delete=_WHITE_SPACE).rstrip(b"=")


def _decoded(text: bytes, field: str) -> bytes:
    if len(text) > _LONGEST_BASE64:
        raise _too_large(field)
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{field}: the data URL holds no valid base64") from None


def _too_large(field: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: the image has more than {MOST_INPUT_BYTES // 2**20} MiB")
