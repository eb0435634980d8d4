"""The rotation of webhook secrets, and their encryption under a new key of the service.

While a rotation overlaps, the old and the new secret sign every webhook, so a receiver may take up the new
one at any time in between. Source: docs/design/webhooks.md, "Secrets".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Engine

from imagequeue.domain.errors import InvalidRequest, NotFound
from imagequeue.lifecycle.operate.accounts import open_webhook_secrets, seal_webhook_secrets
from imagequeue.signing import Keyring, new_webhook_secret
from imagequeue.store.database import locks_within
from imagequeue.store.webhook_secrets import (
    SealedSecrets,
    SecretOwner,
    lock_secrets,
    lock_some,
    owners,
    reseal,
    write_secrets,
)

OVERLAP = timedelta(hours=24)
"""For which both secrets sign, unless somebody asks for another time."""

LONGEST_OVERLAP = timedelta(days=7)
"""A secret that has leaked must not be valid much longer than a receiver's next deploy."""

MOST_SECRETS = 5
"""That sign at a time: each makes the header of every webhook longer by 47 bytes."""

RESEALED_AT_ONCE = 200
"""Owners whose secrets one transaction encrypts again."""


@dataclass(frozen=True, slots=True)
class RotatedSecret:
    """What a rotation made: the new secret, and until when the older ones sign too; None: they do not."""

    secret: str = field(repr=False)
    old_until: datetime | None


def rotate_webhook_secret(  # noqa: PLR0913  # whose secret, and how
    engine: Engine,
    keyring: Keyring,
    owner: SecretOwner,
    owner_id: UUID,
    overlap: timedelta = OVERLAP,
    *,
    lock_seconds: float | None = None,
) -> RotatedSecret:
    """Give an owner a new secret. It signs at once; the older ones sign beside it for the time of `overlap`.

    Raises:
        NotFound: there is no such owner.
        InvalidRequest: the overlap is negative or too long, or too many secrets would sign.
        ConfigurationError: IMAGEQUEUE_SECRET_KEY does not decrypt the secrets that are to sign on.
        LockTimeout: the row was not free within `lock_seconds`; nothing has changed.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise InvalidRequest(f"overlap_hours must be from 0 to {LONGEST_OVERLAP // timedelta(hours=1)}")
    with engine.begin() as connection, locks_within(connection, lock_seconds):
        stored = lock_secrets(connection, owner, owner_id)
        if stored is None:
            raise NotFound
        return _rotate(connection, keyring, owner, stored, overlap)


def reencrypt(engine: Engine, keyring: Keyring) -> int:
    """Encrypt all stored secrets under the first key of the service; of how many owners.

    Secrets whose overlap is over are left out. Each step is one commit, and a run that was interrupted may
    be repeated.

    Raises:
        ConfigurationError: none of the keys decrypts one of them. What was done before stays.
    """
    done = 0
    for owner in owners():
        after: UUID | None = None
        while True:
            with engine.begin() as connection:
                found = lock_some(connection, owner, after, RESEALED_AT_ONCE)
                reseal(connection, owner, {one.id: _resealed(keyring, one) for one in found})
            done += len(found)
            if len(found) < RESEALED_AT_ONCE:
                break
            after = found[-1].id
    return done


def _rotate(
    connection: Connection, keyring: Keyring, owner: SecretOwner, stored: SealedSecrets, overlap: timedelta
) -> RotatedSecret:
    secret = new_webhook_secret()
    older = _signing(keyring, stored) if overlap else []
    if len(older) >= MOST_SECRETS:
        raise InvalidRequest(f"{MOST_SECRETS} secrets sign already; wait, or rotate without an overlap")
    sealed = seal_webhook_secrets(keyring, [secret, *older])
    return RotatedSecret(secret, write_secrets(connection, owner, stored.id, sealed, overlap))


def _signing(keyring: Keyring, stored: SealedSecrets) -> list[str]:
    """The secrets that sign at this moment, newest first."""
    secrets = open_webhook_secrets(keyring, stored.sealed)
    return secrets if stored.overlaps else secrets[:1]


def _resealed(keyring: Keyring, stored: SealedSecrets) -> str:
    return seal_webhook_secrets(keyring, _signing(keyring, stored))
