"""Where clients download a stored object: URLs that never change (docs/design/pipeline.md, "States").

With `IMAGEQUEUE_MEDIA_BASE_URL`, such as a CDN's, it is `BASE/{storage key}`; else this service's
`/media/{token}/{storage key}`, whose token cannot be guessed, so that it needs no API key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from imagequeue.media.keys import OUTPUT_PREFIX, checked_key
from imagequeue.settings import Settings
from imagequeue.signing import Keyring

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_URL = 8192
"""Characters: several times what a URL of an object of ours has, however it is escaped."""


@dataclass(frozen=True, slots=True)
class MediaUrls:
    """Makes the URL of a storage key. `origin` and `base_url` have no slash at their end."""

    origin: str
    base_url: str | None
    token: Callable[[str], str]

    def __call__(self, storage_key: str) -> str:
        """The URL of one stored object."""
        path = quote(storage_key, safe="/")
        if self.base_url is not None:
            return f"{self.base_url}/{path}"
        return f"{self.origin}/media/{self.token(storage_key)}/{path}"


def own_storage_key(url: str, settings: Settings, keyring: Keyring) -> str | None:
    """The key of the output image that a media URL of this service names; None for every other URL.

    By the route of this service the token proves that the service made the URL. Below
    `IMAGEQUEUE_MEDIA_BASE_URL` the key itself cannot be guessed, and whoever knows it can download the object
    there. Scheme and host may be written in capitals, and a query or a fragment names no other object.
    """
    base = settings.media_base_url.rstrip("/") if settings.media_base_url else None
    if base is not None and (path := _path_below(base, url)) is not None:
        return _output_key(path)
    path = _path_below(f"{settings.public_origin}/media", url)
    token, _, key = (path or "").partition("/")
    return _output_key(key) if key and keyring.is_media_token(key, token) else None


def _path_below(base: str, url: str) -> str | None:
    """What follows a base URL, unquoted; None where the URL does not begin with it.

    A longer text is not looked at: `urlsplit` keeps the last hundred that it has split, data URLs too.
    """
    if len(url) > _LONGEST_URL:
        return None
    try:
        ours, theirs = urlsplit(base), urlsplit(url)
        same = _origin(ours) == _origin(theirs)
    except ValueError:  # no port, or half an IPv6 address
        return None
    prefix = f"{ours.path}/"
    return unquote(theirs.path.removeprefix(prefix)) if same and theirs.path.startswith(prefix) else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _output_key(key: str) -> str | None:
    """The key, unless it is that of an input image, which no URL of this service names."""
    with contextlib.suppress(ValueError):
        return checked_key(key) if key.startswith(OUTPUT_PREFIX) else None
    return None


def media_urls(settings: Settings, keyring: Keyring) -> MediaUrls:
    """The URLs by the settings."""
    base = settings.media_base_url.rstrip("/") if settings.media_base_url else None
    return MediaUrls(settings.public_origin, base, keyring.media_token)
