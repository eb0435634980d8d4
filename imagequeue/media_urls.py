"""Where clients download a stored object: URLs that never change (docs/design/pipeline.md, "States").

With `IMAGEQUEUE_MEDIA_BASE_URL`, such as a CDN's, it is `BASE/{storage key}`; else this service's
`/media/{token}/{storage key}`, whose token cannot be guessed, so that it needs no API key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from imagequeue.settings import Settings
from imagequeue.signing import Keyring


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


def media_urls(settings: Settings, keyring: Keyring) -> MediaUrls:
    """The URLs by the settings."""
    base = settings.media_base_url.rstrip("/") if settings.media_base_url else None
    return MediaUrls(settings.public_origin, base, keyring.media_token)
