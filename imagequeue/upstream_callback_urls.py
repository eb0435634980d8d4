"""Where an upstream calls back: `/callbacks/{token}` of this service, whose token names one attempt.

Nobody can guess the token, so it needs no API key, and nothing about it is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from imagequeue.settings import Settings
from imagequeue.signing import Keyring


@dataclass(frozen=True, slots=True)
class UpstreamCallbackUrls:
    """Makes the URL for an attempt. `origin` has no slash at its end."""

    origin: str
    token: Callable[[UUID], str]

    def __call__(self, attempt_id: UUID) -> str:
        """The URL that one submit names."""
        return f"{self.origin}/callbacks/{self.token(attempt_id)}"


def upstream_callback_urls(settings: Settings, keyring: Keyring) -> UpstreamCallbackUrls:
    """The URLs as the settings want them."""
    return UpstreamCallbackUrls(settings.public_origin, keyring.callback_token)
