"""The secrets that sign webhooks, encrypted, in the rows of those who own them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Table, bindparam, func, select, update

from imagequeue.store.tables import accounts, webhook_endpoints


class SecretOwner(StrEnum):
    """Whose secrets they are: an account's sign the webhooks to the URLs of single requests."""

    ACCOUNT = "accounts"
    ENDPOINT = "webhook_endpoints"


_TABLES: Final[Mapping[SecretOwner, Table]] = {
    SecretOwner.ACCOUNT: accounts,
    SecretOwner.ENDPOINT: webhook_endpoints,
}


@dataclass(frozen=True, slots=True)
class SealedSecrets:
    """The secrets of one owner. `sealed` is encrypted; all but the newest sign until `old_until`.

    `now` is the database's clock.
    """

    id: UUID
    sealed: str
    old_until: datetime | None
    now: datetime

    @property
    def overlaps(self) -> bool:
        """Whether all of them sign, and not the newest alone."""
        return self.old_until is not None and self.old_until > self.now


def lock_secrets(connection: Connection, owner: SecretOwner, owner_id: UUID) -> SealedSecrets | None:
    """Read the secrets of an owner and keep others from changing them; None: there is no such owner."""
    table = _TABLES[owner]
    found = connection.execute(_columns(table).where(table.c.id == owner_id).with_for_update(key_share=True))
    row = found.one_or_none()
    return SealedSecrets(*row) if row else None


def read_secrets(connection: Connection, owner: SecretOwner, owner_id: UUID) -> SealedSecrets | None:
    """Read the secrets of an owner; None: there is no such owner."""
    table = _TABLES[owner]
    row = connection.execute(_columns(table).where(table.c.id == owner_id)).one_or_none()
    return SealedSecrets(*row) if row else None


def lock_some(
    connection: Connection, owner: SecretOwner, after: UUID | None, most: int
) -> list[SealedSecrets]:
    """Read and lock the secrets of up to `most` owners whose ids follow `after`, in their order."""
    table = _TABLES[owner]
    statement = _columns(table).order_by(table.c.id).limit(most).with_for_update(key_share=True)
    if after is not None:
        statement = statement.where(table.c.id > after)
    return [SealedSecrets(*row) for row in connection.execute(statement)]


def write_secrets(
    connection: Connection, owner: SecretOwner, owner_id: UUID, sealed: str, overlap: timedelta
) -> datetime | None:
    """Store what a rotation made; returns until when the older secrets sign. An overlap is never shortened.

    Without an overlap the newest signs alone from now on.
    """
    table = _TABLES[owner]
    until = func.greatest(table.c.old_secrets_until, func.clock_timestamp() + overlap) if overlap else None
    changed = update(table).where(table.c.id == owner_id)
    statement = changed.values(webhook_secrets=sealed, old_secrets_until=until)
    return connection.execute(statement.returning(table.c.old_secrets_until)).scalar_one()


def reseal(connection: Connection, owner: SecretOwner, sealed: Mapping[UUID, str]) -> None:
    """Store the same secrets, encrypted again."""
    table = _TABLES[owner]
    changed = update(table).where(table.c.id == bindparam("owner"))
    rows = [{"owner": owner_id, "sealed": text} for owner_id, text in sealed.items()]
    if rows:
        connection.execute(changed.values(webhook_secrets=bindparam("sealed")), rows)


def owners() -> Sequence[SecretOwner]:
    """Everyone who has secrets."""
    return tuple(SecretOwner)


def _columns(table: Table):  # noqa: ANN202  # the type of a select is long
    return select(table.c.id, table.c.webhook_secrets, table.c.old_secrets_until, func.clock_timestamp())
