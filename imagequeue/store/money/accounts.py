"""Accounts and their API keys. A key itself is not stored: its row has the public part and a digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, insert, select, text, update
from sqlalchemy.dialects import postgresql

from imagequeue.store.tables import accounts, api_keys, wallets


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to insert. `webhook_secrets` is encrypted; `weight`: its calls for one of weight 1."""

    id: UUID
    name: str
    webhook_secrets: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to insert: `lookup` is the part by which it is found, `digest` what it is compared with."""

    id: UUID
    account_id: UUID
    name: str
    lookup: str
    digest: bytes
    operator: bool = False
    rpm: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is stored."""

    id: UUID
    name: str
    webhook_secrets: str


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is stored. `rpm`: counted requests a minute, None for the default."""

    id: UUID
    account_id: UUID
    account_name: str
    name: str
    lookup: str
    digest: bytes
    operator: bool
    rpm: int | None
    created_at: datetime
    revoked_at: datetime | None


_KEYS = select(
    api_keys.c.id,
    api_keys.c.account_id,
    accounts.c.name.label("account_name"),
    api_keys.c.name,
    api_keys.c.lookup,
    api_keys.c.digest,
    api_keys.c.operator,
    api_keys.c.rpm,
    api_keys.c.created_at,
    api_keys.c.revoked_at,
).join_from(api_keys, accounts)


def create_accounts(connection: Connection, new: Sequence[NewAccount]) -> set[str]:
    """Insert accounts with empty wallets; returns the names that were free."""
    rows = [asdict(account) for account in new]
    statement = postgresql.insert(accounts).on_conflict_do_nothing().returning(accounts.c.id, accounts.c.name)
    made = connection.execute(statement, rows).all()
    if made:
        zero = {"available": 0, "held": 0, "spent": 0}
        connection.execute(insert(wallets), [{"account_id": row.id, **zero} for row in made])
    return {row.name for row in made}


def accounts_by_name(connection: Connection, names: Sequence[str]) -> dict[str, Account]:
    """Find accounts by their names."""
    columns = (accounts.c.id, accounts.c.name, accounts.c.webhook_secrets)
    rows = connection.execute(select(*columns).where(accounts.c.name.in_(names)))
    return {row.name: Account(row.id, row.name, row.webhook_secrets) for row in rows}


def create_keys(connection: Connection, new: Sequence[NewKey]) -> None:
    """Insert keys."""
    rows = [
        {
            "id": key.id,
            "account_id": key.account_id,
            "name": key.name,
            "lookup": key.lookup,
            "digest": key.digest,
            "operator": key.operator,
            "rpm": key.rpm,
        }
        for key in new
    ]
    connection.execute(insert(api_keys), rows)


def keys_by_lookup(connection: Connection, lookups: Sequence[str]) -> dict[str, StoredKey]:
    """Find keys by their public parts."""
    rows = connection.execute(
        _KEYS.where(api_keys.c.lookup == text("ANY(:lookups)")), {"lookups": [*lookups]}
    )
    return {row.lookup: _stored(row) for row in rows}


def all_keys(connection: Connection, account_name: str | None = None) -> list[StoredKey]:
    """Every key, or those of one account, oldest first."""
    statement = _KEYS.order_by(api_keys.c.id)
    if account_name is not None:
        statement = statement.where(accounts.c.name == account_name)
    return [_stored(row) for row in connection.execute(statement)]


def revoke_keys(connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Revoke keys for good; returns those that exist. Revoking again changes nothing."""
    statement = (
        update(api_keys)
        .where(api_keys.c.id.in_(ids))
        .values(revoked_at=text("coalesce(revoked_at, clock_timestamp())"))
        .returning(api_keys.c.id)
    )
    return set(connection.execute(statement).scalars())


def _stored(row: Row[*tuple[Any, ...]]) -> StoredKey:
    return StoredKey(*row)
