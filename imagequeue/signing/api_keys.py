"""API keys: `iq_<lookup>_<secret>`.

The lookup part finds the row by an index and is no secret; the rest is 32 random bytes. So much randomness
cannot be guessed or tabulated, so a plain SHA-256 of the whole key is stored: a password hash would make
every request slow and no key safer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

_LOOKUP_BYTES: Final = 8
_SECRET_BYTES: Final = 32
_KEY: Final = re.compile(r"iq_(?P<lookup>[0-9a-f]{16})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A fresh key. `key` is shown once and never stored; `lookup` and `digest` (SHA-256) are stored."""

    key: str = field(repr=False)
    lookup: str
    digest: bytes


def new_api_key() -> ApiKey:
    """Make a key from the system's randomness."""
    lookup = secrets.token_hex(_LOOKUP_BYTES)
    key = f"iq_{lookup}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return ApiKey(key, lookup, _digest(key))


def api_key_lookup(key: str) -> str | None:
    """Return the lookup part of what a client sent; None if it does not have the form of a key."""
    match = _KEY.fullmatch(key)
    return None if match is None else match["lookup"]


def is_api_key(key: str, digest: bytes) -> bool:
    """Whether `key` is the one that `digest` was stored for. Compares in constant time."""
    return hmac.compare_digest(_digest(key), digest)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
