"""Images as text: base64, data URLs and links, read as a browser reads them; and the count of an answer's."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from urllib.parse import urljoin, urlsplit

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.percent_encoding import percent_decoded
from imagequeue.domain.upstream import Images, RawImage, Unavailable

HEAD_BYTES = 12
"""Of these the format of an image can be told."""
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_LONGEST_HEAD = 200
"""Characters of a data URL before its comma: a media type and its parameters."""
_LONGEST_LINK = 8_000
"""Characters. Signed links have up to about 2,000."""
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_LINE_ENDS = re.compile(r"[\t\r\n]")
"""Browsers drop these from links."""
_WHITE_SPACE = b" \t\r\n\f\v"


def collected(images: Iterable[RawImage], image_count: int, cost_usd: Decimal | None = None) -> Images:
    """The first `image_count` images of an answer.

    Raises:
        Unavailable: there are fewer; its `images` are those that came, its `cost_usd` is what they cost.
    """
    received = tuple(islice(images, image_count))
    if len(received) == image_count:
        return Images(received, cost_usd)
    error = Unavailable(f"the answer holds {len(received)} of {image_count} images")
    error.images, error.cost_usd = received, cost_usd
    raise error


def is_image(content: bytes) -> bool:
    """Whether the bytes begin as an image of a format that is decoded."""
    return content.startswith(_MAGIC) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def decoded(text: str) -> bytes | None:
    """The bytes of base64 or of a data URL; None when it is neither, or truncated within a character.

    White space, the alphabet for URLs, and missing padding are taken. So is a data URL that is
    percent-encoded, in its base64 or in place of it.
    """
    head, comma, tail = text[:_LONGEST_HEAD].partition(",")
    if not comma or head.lstrip()[:5].casefold() != "data:":
        return _base64(text)
    payload = tail + text[_LONGEST_HEAD:]
    if head.rstrip().casefold().endswith("base64"):
        return _base64(payload)
    plain = percent_decoded(payload.encode("utf-8", "replace"))
    return plain if is_image(plain) else _base64(payload) or plain or None


def _base64(payload: str) -> bytes | None:
    try:
        return base64.b64decode(payload, validate=True) or None
    except ValueError:  # binascii.Error, or a character outside of ASCII
        return _leniently(payload.encode("utf-8", "replace"))


def _leniently(payload: bytes) -> bytes | None:
    raw = percent_decoded(payload) if b"%" in payload[:_LONGEST_LINK] else payload
    plain = raw.translate(_URL_SAFE, _WHITE_SPACE).rstrip(b"=")
    if not plain or _NOT_BASE64.search(plain):
        return None
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return None


def absolute(link: str, url: str) -> str | None:
    """The http(s) URL that a link in an answer from `url` leads to; None when it leads to none.

    A relative link has a slash or a dot: a word such as "pending" is no link.
    """
    link = _LINE_ENDS.sub("", link.strip()).replace(" ", "%20")
    if len(link) > _LONGEST_LINK or not {"/", "."} & set(link):
        return None
    try:
        given, joined = urlsplit(link), urljoin(url, link)
        reached = urlsplit(joined)
    except ValueError:
        return None
    if given.scheme and not given.netloc:
        return None
    return joined if reached.scheme in {"http", "https"} and reached.netloc else None


def data_url(image: EncodedImage) -> str:
    """The image as a data URL."""
    return f"data:{image.media_type};base64,{base64.b64encode(image.content).decode('ascii')}"
