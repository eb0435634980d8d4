"""`imagequeue keys`: accounts and their API keys.

Needs only IMAGEQUEUE_DATABASE_URL and IMAGEQUEUE_SECRET_KEY.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Engine

from cli.errors import reported
from cli.output import console, print_json
from cli.store import operator_engine, operator_keyring
from cli.tables import Column, print_table
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.status_body import timestamp
from imagequeue.lifecycle.operate.accounts import (
    IssuedKey,
    KeyTerms,
    add_key,
    open_account,
    require_account,
    revoke_key,
)
from imagequeue.lifecycle.operate.webhook_secrets import RotatedSecret, reencrypt, rotate_webhook_secret
from imagequeue.signing import Keyring
from imagequeue.store.money.accounts import StoredKey, all_keys
from imagequeue.store.webhook_secrets import SecretOwner

app = typer.Typer(name="keys", help="Accounts and their API keys.", no_args_is_help=True)

MOST_RPM = 1_000_000
"""Submits a minute: more than any installation can take, and within the range of the column."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def create_first_key(engine: Engine, keyring: Keyring, name: str, funds: Decimal) -> IssuedKey | None:
    """Make the account `name` with an operator's key and `funds` in USD; None if any key exists already."""
    with engine.connect() as connection:
        if all_keys(connection):
            return None
    return open_account(engine, keyring, name, KeyTerms(operator=True), funds)


@app.command()
@reported
def create(  # noqa: PLR0913  # the command's options
    name: Annotated[str, typer.Argument(help="Name of the new account, or of the key with --account.")],
    *,
    funds: Annotated[str, typer.Option(help="USD to deposit.")] = "0",
    rpm: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_RPM,
            help="Most requests a minute that count, with this key.",
        ),
    ] = None,
    operator: Annotated[bool, typer.Option("--operator", help="The key may use operator routes.")] = False,
    account: Annotated[str | None, typer.Option(help="Add the key to this account instead.")] = None,
    weight: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Turns of the account for each turn of one with weight 1."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the account NAME and its first key; the key is shown only here."""
    if account is not None and weight is not None:
        raise InvalidRequest("--weight is for a new account; --account names one that has its weight already")
    terms, amount = KeyTerms(rpm, operator), usd(funds)
    with operator_engine() as engine:
        keyring = operator_keyring()
        if account is None:
            issued = open_account(engine, keyring, name, terms, amount, weight=weight or 1)
        else:
            issued = add_key(engine, keyring, account, name, terms, funds=amount)
    _show(issued, as_json=as_json)


@app.command("list")
@reported
def list_keys(
    *,
    account: Annotated[str | None, typer.Option(help="Only the keys of this account.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys, without their secret parts."""
    with operator_engine() as engine, engine.connect() as connection:
        keys = all_keys(connection, account)
    if as_json:
        print_json([_record(key) for key in keys])
    else:
        print_table(COLUMNS, [_row(key) for key in keys])


@app.command()
@reported
def revoke(
    key_id: Annotated[UUID, typer.Argument(metavar="ID", help="The key's id, from keys list.")],
) -> None:
    """Revoke a key for good; it is refused within a second."""
    with operator_engine() as engine:
        revoke_key(engine, key_id)
    console.print(f"Revoked {key_id}")


@app.command("rotate-webhook-secret")
@reported
def rotate(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name.")],
    *,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=168, help="For so long the old secret signs beside the new one.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Give an account a new webhook secret; it is shown only here."""
    with operator_engine() as engine:
        with engine.connect() as connection:
            found = require_account(connection, account)
        overlap = timedelta(hours=overlap_hours)
        rotated = rotate_webhook_secret(engine, operator_keyring(), SecretOwner.ACCOUNT, found.id, overlap)
    _show_rotated(rotated, as_json=as_json)


@app.command("reencrypt")
@reported
def encrypt_again(*, as_json: AsJson = False) -> None:
    """Encrypt all stored secrets under the first key of IMAGEQUEUE_SECRET_KEY, before the others go."""
    with operator_engine() as engine:
        count = reencrypt(engine, operator_keyring())
    if as_json:
        print_json({"reencrypted": count})
    else:
        console.print(f"Encrypted the secrets of {count} owners under the first key")


def usd(text: str) -> Decimal:
    """Read an amount of USD.

    Raises:
        InvalidRequest: it is not a plain decimal number.
    """
    try:
        amount = Decimal(text)
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise InvalidRequest(f"'{text}' is not an amount of USD such as 25 or 0.039")
    return amount


def _show(issued: IssuedKey, *, as_json: bool) -> None:
    if as_json:
        secrets = {"key": issued.key, "webhook_secret": issued.webhook_secret}
        print_json({"id": str(issued.id), "name": issued.name} | secrets)
        return
    typer.echo(f"id              {issued.id}")
    typer.echo(f"name            {issued.name}")
    typer.echo(f"key             {issued.key}")
    typer.echo(f"webhook secret  {issued.webhook_secret}")
    typer.echo("The key is shown only here.")


def _show_rotated(rotated: RotatedSecret, *, as_json: bool) -> None:
    until = rotated.old_until and timestamp(rotated.old_until)
    if as_json:
        print_json({"webhook_secret": rotated.secret, "old_secrets_until": until})
        return
    typer.echo(f"webhook secret  {rotated.secret}")
    typer.echo(f"The old secret signs as well until {until}." if until else "The old secret signs no more.")


def _record(key: StoredKey) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "name": key.name,
        "account": key.account_name,
        "lookup": key.lookup,
        "operator": key.operator,
        "rpm": key.rpm,
        "created_at": timestamp(key.created_at),
        "revoked_at": key.revoked_at and timestamp(key.revoked_at),
    }


COLUMNS = (
    Column("id"),
    Column("account"),
    Column("name"),
    Column("key", rank=4),
    Column("operator", rank=2),
    Column("rpm", rank=3),
    Column("revoked", rank=1),
)


def _row(key: StoredKey) -> tuple[str, ...]:
    record = _record(key)
    return (
        record["id"],
        key.account_name,
        key.name,
        f"iq_{key.lookup}_…",
        "yes" if key.operator else "",
        str(key.rpm or ""),
        record["revoked_at"] or "",
    )
