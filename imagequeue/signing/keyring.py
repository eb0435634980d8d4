"""The service's secret key, and what is derived from it.

Each purpose has a subkey of its own (HKDF-SHA256, the purpose as `info`), so that what is learned about one
does not help with another. `IMAGEQUEUE_SECRET_KEY` may hold several keys, separated by commas: the first
encrypts and signs, all decrypt and verify. To replace a key, put the new one in front, encrypt the stored
secrets again (`imagequeue keys reencrypt`), and only then remove the old one. Removing a key ends the media
URLs that were made with it, because they stand in status bodies that never change. It also ends the tokens of
upstream callbacks that were made with it, but those matter only until their calls end.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from imagequeue.domain.errors import ConfigurationError

_SHORTEST_KEY: Final = 32  # characters; `new_secret_key` makes 43
_SUBKEY_BYTES: Final = 32
_TOKEN_BYTES: Final = 18  # 144 bits, and no padding in base64
_ENCRYPTION: Final = b"imagequeue/encryption/v1"
_MEDIA: Final = b"imagequeue/media-token/v1"
_CALLBACK: Final = b"imagequeue/callback-token/v1"


def new_secret_key() -> str:
    """Return a fresh value for `IMAGEQUEUE_SECRET_KEY`: 32 random bytes, URL-safe."""
    return secrets.token_urlsafe(_SUBKEY_BYTES)


class Keyring:
    """Encrypts stored secrets, makes the tokens of media URLs and upstream callbacks. Safe in threads.

    Raises:
        ConfigurationError: no key, or one shorter than 32 characters.
    """

    def __init__(self, secret_key: str) -> None:
        keys = [part.strip() for part in secret_key.split(",") if part.strip()]
        if not keys or any(len(key) < _SHORTEST_KEY for key in keys):
            raise ConfigurationError(
                f"IMAGEQUEUE_SECRET_KEY: needs one or more keys of at least {_SHORTEST_KEY} characters"
            )
        self._boxes = MultiFernet(
            [Fernet(base64.urlsafe_b64encode(_subkey(key, _ENCRYPTION))) for key in keys]
        )
        self._media_keys = [_subkey(key, _MEDIA) for key in keys]
        self._callback_keys = [_subkey(key, _CALLBACK) for key in keys]

    def encrypt(self, secret: str) -> str:
        """Encrypt `secret` for storage, under the first key."""
        return self._boxes.encrypt(secret.encode()).decode("ascii")

    def decrypt(self, stored: str) -> str:
        """Return the secret behind `stored`.

        Raises:
            ConfigurationError: none of the keys opens it.
        """
        try:
            return self._boxes.decrypt(stored.encode()).decode()
        except InvalidToken:
            raise ConfigurationError("IMAGEQUEUE_SECRET_KEY: no key opens a stored secret") from None

    def media_token(self, storage_key: str) -> str:
        """Return the unguessable part of a media URL: 24 URL-safe characters, always the same for a key."""
        return _token(self._media_keys[0], storage_key)

    def is_media_token(self, storage_key: str, token: str) -> bool:
        """Whether `token` was made for `storage_key` under any of the keys. Compares in constant time."""
        return _is_token(self._media_keys, storage_key, token)

    def callback_token(self, attempt_id: UUID) -> str:
        """Return the token of one attempt's upstream callback: its id, a dot, 24 URL-safe characters."""
        return f"{attempt_id}.{_token(self._callback_keys[0], str(attempt_id))}"

    def attempt_of_callback(self, token: str) -> UUID | None:
        """Return the attempt that `token` was made for under any of the keys; None for a forged token."""
        name, _, proof = token.partition(".")
        return UUID(name) if _is_token(self._callback_keys, name, proof) else None


def _subkey(secret_key: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_SUBKEY_BYTES, salt=None, info=purpose).derive(secret_key.encode())


def _is_token(keys: Sequence[bytes], name: str, token: str) -> bool:
    given = token.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(_token(key, name).encode(), given) for key in keys]
    return any(matches)


def _token(key: bytes, name: str) -> str:
    digest = hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")
    return base64.urlsafe_b64encode(digest[:_TOKEN_BYTES]).decode("ascii")
