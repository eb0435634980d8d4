"""Read the images of an answer (base64, data URLs, links) and check that none is missing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.upstream import Images, RawImage, Unavailable
from imagequeue.providers.values import items, mapping


def collected(images: Iterable[RawImage], image_count: int, cost_usd: Decimal | None = None) -> Images:
    """The first `image_count` images of an answer.

    Raises:
        Unavailable: there are fewer; its `images` are those that came, its `cost_usd` is what they cost.
    """
    received = tuple(images)[:image_count]
    if len(received) == image_count:
        return Images(received, cost_usd)
    error = Unavailable(f"the answer holds {len(received)} of {image_count} images")
    error.images, error.cost_usd = received, cost_usd
    raise error


def images_in_data(body: Any) -> list[RawImage]:
    """The images of `{"data": [{"b64_json"} or {"url"}]}`, the answer of four of the upstreams.

    Raises:
        Unavailable: an image is not base64.
    """
    entries = items(mapping(body).get("data"))
    return [image for image in map(_image_in_entry, entries) if image is not None]


def _image_in_entry(entry: Any) -> RawImage | None:
    text, link = mapping(entry).get("b64_json"), mapping(entry).get("url")
    if isinstance(text, str) and text:
        return RawImage(content=decoded(text))
    return image_at(link) if isinstance(link, str) and link else None


def image_at(link: str) -> RawImage:
    """The image that a data URL holds, or that is to be downloaded from an http(s) URL.

    Raises:
        Unavailable: the URL is neither, or its data are not base64.
    """
    if link.startswith("data:"):
        return RawImage(content=decoded(link))
    if link.startswith(("https://", "http://")):
        return RawImage(url=link)
    raise Unavailable("the answer holds an image URL that is neither http(s) nor data")


def decoded(text: str) -> bytes:
    """The bytes that strict base64 encodes, with or without the head of a data URL.

    Raises:
        Unavailable: it is truncated or not base64.
    """
    head, comma, tail = text[:100].partition(",")
    payload = text[len(head) + 1 :] if comma and head.startswith("data:") and tail else text
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise Unavailable("the answer holds an image that is not base64") from None


def data_url(image: EncodedImage) -> str:
    """The image as a data URL."""
    return f"data:{image.media_type};base64,{base64.b64encode(image.content).decode('ascii')}"
