"""`imagequeue wallet`: what accounts have, hold and have spent. Needs only IMAGEQUEUE_DATABASE_URL."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import reported
from cli.keys import AsJson, usd
from cli.output import print_json
from cli.store import operator_engine
from cli.tables import Column, print_table
from imagequeue.domain.money import plain
from imagequeue.lifecycle.operate.accounts import deposit_funds, require_account
from imagequeue.store.money.ledger import Wallet, read_wallets

app = typer.Typer(name="wallet", help="Wallets of accounts.", no_args_is_help=True)

AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name.")]


@app.command()
@reported
def show(account: AccountName, *, as_json: AsJson = False) -> None:
    """Show what an account has, holds for open jobs, and has spent."""
    with operator_engine() as engine, engine.connect() as connection:
        found = require_account(connection, account)
        wallet = read_wallets(connection, [found.id])[found.id]
    _print(account, wallet, as_json=as_json)


@app.command()
@reported
def deposit(
    account: AccountName,
    amount: Annotated[str, typer.Argument(metavar="USD", help="For example 25 or 0.5.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Put money into an account's wallet."""
    with operator_engine() as engine:
        wallet = deposit_funds(engine, account, usd(amount))
    _print(account, wallet, as_json=as_json)


def _print(account: str, wallet: Wallet, *, as_json: bool) -> None:
    amounts = {
        "available": plain(wallet.available),
        "held": plain(wallet.held),
        "spent": plain(wallet.spent),
    }
    if as_json:
        print_json({"account": account} | amounts)
        return
    columns = [Column(name) for name in ("account", *amounts)]
    print_table(columns, [(account, *amounts.values())])
