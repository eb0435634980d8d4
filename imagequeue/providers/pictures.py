"""Images as text: base64, data URLs and links, read as a browser reads them; and the count of an answer's."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from decimal import Decimal
from io import BytesIO
from itertools import islice
from urllib.parse import urljoin, urlsplit

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.forgiving_base64 import base64_decoded
from imagequeue.domain.percent_encoding import percent_decoded
from imagequeue.domain.upstream import Images, RawImage, Unavailable

HEAD_BYTES = 12
"""Of these the format of an image can be told."""
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_LONGEST_HEAD = 200
"""Characters of a data URL before its comma: a media type and its parameters."""
_LONGEST_LINK = 8_000
"""Characters. Signed links have up to about 2,000."""
_ENCODED_BYTES = 48 * 1024
"""Of an image in one step: a multiple of three, so that no piece has padding."""
_LINE_ENDS = re.compile(r"[\t\r\n]")
"""Browsers drop these from links."""


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
    head, comma, _ = text[:_LONGEST_HEAD].partition(",")
    if not comma or head.lstrip()[:5].casefold() != "data:":
        return _base64(text)
    begin = len(head) + 1
    if head.rstrip().casefold().endswith("base64"):
        return _base64(text, begin)
    plain = b"".join(percent_decoded(text, begin))
    return plain if is_image(plain) else _base64(text, begin) or plain or None


def _base64(text: str, begin: int = 0) -> bytes | None:
    content = BytesIO()
    try:
        content.writelines(base64_decoded(percent_decoded(text, begin)))
    except ValueError:
        return None
    return content.getvalue() or None


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
    """The image as a data URL, written in pieces: other threads have their turns in between."""
    pieces = [f"data:{image.media_type};base64,"]
    for begin in range(0, len(image.content), _ENCODED_BYTES):
        encoded = base64.b64encode(image.content[begin : begin + _ENCODED_BYTES])
        pieces.append(encoded.decode("ascii"))
    return "".join(pieces)
