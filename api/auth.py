"""Authenticate: from the API key in a request's headers to its account.

Keys are remembered for at most a second: a revoked key stops working within that time, and a busy client
costs one look-up a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from math import ceil

from fastapi import Request

from api.answer_headers import add_headers
from api.coalescer import coalesced
from api.documented import is_counted
from api.failed_keys import LONGEST_SECONDS, FailedKeys
from api.services import ApiServices, services_of
from api.shares import serve_account
from imagequeue.client_rate_limit import MINUTE_SECONDS, Allowance, Withdrawal
from imagequeue.domain.errors import KeyRevoked, OperatorOnly, TooManyRequests, Unauthenticated
from imagequeue.signing import api_key_lookup, is_api_key
from imagequeue.store.database import one_statement
from imagequeue.store.money.accounts import StoredKey, keys_by_lookup

REMEMBERED_SECONDS = 1.0
_MOST = 10_000
"""Keys in memory; above that all are forgotten, which costs a look-up each."""


class KeyCache:
    """Stored keys by their public part, each for a second.

    `now` is a clock in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._keys: dict[str, tuple[float, StoredKey]] = {}

    def get(self, lookup: str) -> StoredKey | None:
        """The key, if it was read within the last second."""
        found = self._keys.get(lookup)
        return found[1] if found and self.now() - found[0] < REMEMBERED_SECONDS else None

    def put(self, stored: StoredKey, read_at: float) -> None:
        """Remember a key that a query begun at `read_at` (by `now`) found."""
        if len(self._keys) >= _MOST:
            self._keys.clear()
        self._keys[stored.lookup] = (read_at, stored)


async def authenticate(request: Request) -> StoredKey:
    """Find the stored key of a request.

    Raises:
        Unauthenticated: the request has no key, or an unknown one.
        KeyRevoked: it was revoked.
        TooManyRequests: its address has sent too many wrong keys, and this is one more; its account has all
            requests open that it may; or the route is counted, and the limit of the key is reached.
    """
    key = _given(request)
    lookup = api_key_lookup(key)
    stored = await _stored(request, lookup) if lookup else None
    if stored is None or not is_api_key(key, stored.digest):
        await _slow_down(request)
        raise Unauthenticated
    if stored.revoked_at is not None:
        raise KeyRevoked
    if serve_account(request, stored.account_id) and is_counted(request):
        await _spend_allowance(request, stored)
    return stored


async def require_operator(request: Request) -> StoredKey:
    """Find the stored key of a request, and refuse it unless it is an operator's.

    Raises:
        Unauthenticated, KeyRevoked: as `authenticate`.
        OperatorOnly: the key was made without --operator.
    """
    stored = await authenticate(request)
    if not stored.operator:
        raise OperatorOnly
    return stored


async def _spend_allowance(request: Request, key: StoredKey) -> None:
    """Count a request against the key's limit, if there is one; every answer to it then tells what is left.

    Raises:
        TooManyRequests: the limit is reached; says when to come back.
    """
    services = services_of(request)
    rpm = key.rpm or services.runtime.settings.default_key_rpm
    taken = await take_allowance(services, Allowance(str(key.id), rpm)) if rpm else None
    if rpm is None or taken is None:
        return
    add_headers(request, _told(rpm, taken))
    if taken.wait_seconds > 0:
        message = f"This key may make {rpm} requests a minute that count"
        raise TooManyRequests(message, retry_after=taken.wait_seconds)


def _told(rpm: int, taken: Withdrawal) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers: the limit, what is left, seconds until more is."""
    seconds = ceil((1 - taken.tokens % 1) * MINUTE_SECONDS / rpm)
    return {
        "RateLimit-Policy": f'"key";q={rpm};w={MINUTE_SECONDS:.0f}',
        "RateLimit": f'"key";r={int(taken.tokens)};t={seconds}',
    }


@coalesced(threads=1)
def take_allowance(services: ApiServices, wanted: list[Allowance]) -> Sequence[Withdrawal | None]:
    """Count requests against the limits of their keys; None: they are not counted at the moment."""
    return services.client_rate_limit.take(wanted)


@coalesced(threads=1)
def find_key(services: ApiServices, lookups: list[str]) -> Sequence[StoredKey | None]:
    """The stored keys by their public parts; None where nobody has that key."""
    with one_statement(services.runtime.engine) as connection:
        found = keys_by_lookup(connection, lookups)
    return [found.get(lookup) for lookup in lookups]


async def _slow_down(request: Request) -> None:
    """Wait before a wrong key is refused, where its address has sent many."""
    failed: FailedKeys = request.app.state.failed_keys
    seconds = failed.wait_seconds(request.client.host if request.client else "")
    if seconds > LONGEST_SECONDS:
        message = "Too many requests without a valid API key from this address"
        raise TooManyRequests(message, retry_after=seconds)
    await asyncio.sleep(seconds)


async def _stored(request: Request, lookup: str) -> StoredKey | None:
    cache: KeyCache = request.app.state.key_cache
    stored = cache.get(lookup)
    if stored is None:
        read_at = cache.now()
        stored = await find_key(services_of(request), lookup)
        if stored is not None:
            cache.put(stored, read_at)
    return stored


def _given(request: Request) -> str:
    headers = request.headers
    own = headers.get("ocp-apim-subscription-key") or headers.get("api-key")
    if own:
        return own.strip()
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.casefold() == "bearer" else ""
