"""Find the images of an answer, in any form that a browser would take: they are paid.

One place for all adapters. The documented forms (docs/design/protocols.md, "The upstreams") and those that
gateways make of them: base64 with or without line breaks, padding and the head of a data URL, data URLs,
links (also relative, or without a scheme), one string instead of an array, the image itself as the body, and
a link as text. What is not found here is bought again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from imagequeue.domain.upstream import RawImage, Unavailable
from imagequeue.providers.pictures import absolute, decoded, is_image
from imagequeue.providers.response import UpstreamResponse
from imagequeue.providers.values import items, mapping

_CONTENT = ("b64_json", "b64", "base64", "image_base64", "b64_image")
"""Keys whose value is base64, whatever it decodes to."""
_LINKS = ("url", "image_url", "media_url", "urls", "download_url", "href", "uri")
"""Keys whose value is a link, or several, or an object with one."""
_PLACES = (
    *("output", "data", "images", "choices", "message", "image", "outputs", "result", "results", "content"),
    *("parts", "candidates", "inlineData", "inline_data", "media", "generations", "artifacts"),
)
"""Keys below which images are looked for, in this order. The first one that has some is the answer."""
_BASE64_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")
"""How the base64 of PNG, JPEG, GIF and WebP begins."""
_DEEPEST = 12
"""Objects and arrays inside each other. The documented answers need six."""
_LINK = re.compile(r"(?:https?:)?//\S+", re.IGNORECASE)
_MARKDOWN = re.compile(r"!\[[^\]]{0,200}\]\(\s*([^\s)]+)[^)]{0,200}\)")
"""An image in the text of a chat."""


def body_of(response: UpstreamResponse) -> Any:
    """The body of a success: JSON, or its text, or its bytes when it is the image itself.

    Raises:
        Unavailable: it is none of these.
    """
    content = response.content()
    if is_image(content) or response.headers.get("content-type", "").casefold().startswith("image/"):
        return content
    try:
        return response.json()
    except Unavailable:
        text = content.decode("utf-8", "replace").lstrip("\ufeff").strip()
        if not any(True for _ in _in_text(text, response.url)):
            raise
        return text


def images_in(body: Any, url: str) -> Iterator[RawImage]:
    """The images of what `body_of` returned, in order; relative links count from `url`.

    What should be an image and cannot be read is left out.
    """
    if isinstance(body, bytes):
        return iter((RawImage(content=body),))
    return _found(body, "output", url, _DEEPEST)


def _found(value: Any, key: str, url: str, deepest: int) -> Iterator[RawImage]:
    if isinstance(value, str):
        yield from _in_string(value, key, url)
    elif isinstance(value, list) and deepest:
        for item in items(value):
            yield from _found(item, key, url, deepest - 1)
    elif isinstance(value, dict) and deepest:
        yield from _in_object(mapping(value), url, deepest - 1)


def _in_object(entry: dict[str, Any], url: str, deepest: int) -> Iterator[RawImage]:
    """The images below the first key that has one: an entry with base64 and a link is one image."""
    for key in (*_CONTENT, *_LINKS, *_content_keys(entry), *_PLACES):
        if key in entry:
            found = _found(entry[key], key, url, deepest)
            first = next(found, None)
            if first is not None:
                yield first
                yield from found
                return


def _content_keys(entry: dict[str, Any]) -> tuple[str, ...]:
    """Keys that hold base64 beside a media type: `{"mimeType": "image/png", "data": "..."}`."""
    types = (entry.get(key) for key in ("mimeType", "mime_type", "media_type"))
    return ("data",) if any(isinstance(name, str) and name.startswith("image/") for name in types) else ()


def _in_string(text: str, key: str, url: str) -> Iterator[RawImage]:
    text = text.strip()
    if key in _CONTENT:
        content = decoded(text)
        link = None if content or not _LINK.fullmatch(text) else absolute(text, url)
    elif key in _LINKS and text[:5].casefold() != "data:":
        content, link = None, absolute(text, url)
    else:
        yield from _in_text(text, url)
        return
    if content or link:
        yield RawImage(content=content, url=None if content else link)


def _in_text(text: str, url: str) -> Iterator[RawImage]:
    """Text that is nothing but a data URL, links, or the base64 of an image; or that shows images."""
    if text[:5].casefold() == "data:":
        content = decoded(text)
        if content:
            yield RawImage(content=content)
        return
    words = text.split() if text[:8].casefold().startswith(("http:", "https:", "//")) else []
    links = words if words and all(map(_LINK.fullmatch, words)) else _MARKDOWN.findall(text)
    for link in links:
        yield from _in_string(link, "url", url)
    content = decoded(text) if text.startswith(_BASE64_STARTS) else None
    if content:
        yield RawImage(content=content)
