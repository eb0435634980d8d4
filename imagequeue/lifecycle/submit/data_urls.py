"""Data URLs (RFC 2397) as clients write them, which browsers take: white space, no padding, escapes.

Source: WHATWG Fetch, "data: URL processor".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.forgiving_base64 import base64_decoded
from imagequeue.domain.percent_encoding import percent_decoded
from imagequeue.media.inputs import MOST_INPUT_BYTES

_DATA_URL = re.compile(r"data:(?P<kind>[^,]{0,200}),", re.IGNORECASE)
_BASE64 = re.compile(r";\s*base64\s*\Z", re.IGNORECASE)
_LONGEST_BASE64 = 4 * MOST_INPUT_BYTES // 3 + 4
"""Characters of the largest image in base64."""
_LONGEST_ESCAPED = 3 * _LONGEST_BASE64
"""The same with every character as an escape (`%2B`); more are refused before they are decoded."""


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
    slices = percent_decoded(url, head.end())
    if _BASE64.search(head["kind"]):
        slices = base64_decoded(slices)
    return _gathered(slices, field)


def _gathered(slices: Iterator[bytes], field: str) -> bytes:
    content = BytesIO()
    try:
        for decoded in slices:
            content.write(decoded)
            if content.tell() > MOST_INPUT_BYTES:
                raise _too_large(field)
    except ValueError:
        raise InvalidRequest(f"{field}: the data URL holds no valid base64") from None
    return content.getvalue()


def _too_large(field: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: the image has more than {MOST_INPUT_BYTES // 2**20} MiB")
