"""Where an upstream calls back: `/callbacks/{token}` of this service, whose token names one attempt.

The token is an HMAC: it cannot be guessed, so that the URL needs no API key, and it is not stored.
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
        """The URL that the upstream is given for one attempt."""
        return f"{self.origin}/callbacks/{self.token(attempt_id)}"


def upstream_callback_urls(settings: Settings, keyring: Keyring) -> UpstreamCallbackUrls:
    """The URLs by the settings."""
    return UpstreamCallbackUrls(settings.public_origin, keyring.callback_token)
