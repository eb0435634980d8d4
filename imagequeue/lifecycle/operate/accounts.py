"""Accounts: open them, create and revoke their keys, deposit funds; each in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from psycopg.errors import NumericValueOutOfRange
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError

from imagequeue.domain.errors import InvalidRequest, NotFound
from imagequeue.domain.ids import new_id
from imagequeue.signing import Keyring, new_api_key, new_webhook_secret
from imagequeue.store.money.accounts import (
    Account,
    NewAccount,
    NewKey,
    accounts_by_name,
    create_accounts,
    create_keys,
    revoke_keys,
)
from imagequeue.store.money.ledger import Deposit, Wallet, deposit, read_wallets

LONGEST_NAME = 100
"""Characters of the name of an account or of a key; it is shown in lists."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. `key` is shown once; `id` is what revokes it."""

    id: UUID
    name: str
    key: str = field(repr=False)
    webhook_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a new key may do: `rpm` counted requests a minute (None: the default), operator routes."""

    rpm: int | None = None
    operator: bool = False


def open_account(  # noqa: PLR0913  # what an account has
    engine: Engine,
    keyring: Keyring,
    name: str,
    terms: KeyTerms,
    funds: Decimal = Decimal(0),
    *,
    weight: int = 1,
) -> IssuedKey:
    """Make an account with a webhook secret, its first key, and `funds` USD in its wallet.

    While jobs of both wait, it gets `weight` calls for each call of an account of weight 1.

    Raises:
        InvalidRequest: the name is taken, empty or longer than 100 characters, or the funds are negative.
    """
    require_name(name)
    secret = new_webhook_secret()
    account = NewAccount(new_id(), name, seal_webhook_secrets(keyring, [secret]), weight)
    with engine.begin() as connection:
        if name not in create_accounts(connection, [account]):
            raise InvalidRequest(f"There is an account '{name}' already; --account adds a key to it")
        _deposit(connection, account.id, funds)
        return _issue(connection, account.id, name, secret, terms)


def add_key(  # noqa: PLR0913  # what a key has
    engine: Engine,
    keyring: Keyring,
    account_name: str,
    name: str,
    terms: KeyTerms,
    *,
    funds: Decimal = Decimal(0),
) -> IssuedKey:
    """Make another key for an account, and put `funds` USD into its wallet.

    Raises:
        NotFound: there is no such account.
        InvalidRequest: the key's name is empty or too long, or the funds are no amount that a wallet takes.
    """
    require_name(name)
    with engine.begin() as connection:
        account = require_account(connection, account_name)
        _deposit(connection, account.id, funds)
        secret = open_webhook_secrets(keyring, account.webhook_secrets)[0]
        return _issue(connection, account.id, name, secret, terms)


def revoke_key(engine: Engine, key_id: UUID) -> None:
    """Revoke a key; API processes notice within a second.

    Raises:
        NotFound: there is no such key.
    """
    with engine.begin() as connection:
        if not revoke_keys(connection, [key_id]):
            raise NotFound(f"No key '{key_id}'")


def deposit_funds(engine: Engine, account_name: str, amount: Decimal) -> Wallet:
    """Put USD into an account's wallet; returns the wallet as it is then.

    Raises:
        NotFound: there is no such account.
        InvalidRequest: the amount is not above zero, or has more than nine decimals.
    """
    if amount <= 0:
        raise InvalidRequest("The amount must be above zero")
    with engine.begin() as connection:
        account = require_account(connection, account_name)
        _deposit(connection, account.id, amount)
        return read_wallets(connection, [account.id])[account.id]


def require_account(connection: Connection, name: str) -> Account:
    """Find an account by its name.

    Raises:
        NotFound: there is none.
    """
    account = accounts_by_name(connection, [name]).get(name)
    if account is None:
        raise NotFound(f"No account '{name}'")
    return account


def require_name(name: str) -> None:
    """Refuse names that cannot be typed or read.

    Raises:
        InvalidRequest: empty, longer than 100 characters, or with characters that do not print.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"A name has 1 to {LONGEST_NAME} printable characters")


def seal_webhook_secrets(keyring: Keyring, secrets: Sequence[str]) -> str:
    """The value of `accounts.webhook_secrets`: all secrets, newest first, encrypted."""
    return keyring.encrypt(" ".join(secrets))


def open_webhook_secrets(keyring: Keyring, stored: str) -> list[str]:
    """The secrets that sign an account's webhooks, newest first.

    Raises:
        ConfigurationError: IMAGEQUEUE_SECRET_KEY does not decrypt them.
    """
    return keyring.decrypt(stored).split(" ")


def _deposit(connection: Connection, account_id: UUID, amount: Decimal) -> None:
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or amount < 0 or exponent < -9 or amount >= 10**9:  # noqa: PLR2004
        raise InvalidRequest("An amount is USD from 0 to below 1000000000, with at most nine decimals")
    if not amount:
        return
    try:
        deposit(connection, [Deposit(account_id, amount)])
    except DataError as error:
        if isinstance(error.orig, NumericValueOutOfRange):
            raise InvalidRequest("A wallet holds less than 1000000000 USD in all") from None
        raise


def _issue(connection: Connection, account_id: UUID, name: str, secret: str, terms: KeyTerms) -> IssuedKey:
    fresh, key_id = new_api_key(), new_id()
    create_keys(
        connection,
        [NewKey(key_id, account_id, name, fresh.lookup, fresh.digest, terms.operator, terms.rpm)],
    )
    return IssuedKey(key_id, name, fresh.key, secret)
