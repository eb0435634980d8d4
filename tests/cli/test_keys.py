"""The operator's commands, run as programs would."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import typer
from sqlalchemy import Engine, select, text
from typer.testing import CliRunner

from cli import keys, wallet
from cli.keys import create_first_key
from imagequeue.domain.errors import ConfigurationError
from imagequeue.lifecycle.operate.accounts import open_webhook_secrets
from imagequeue.signing import Keyring, api_key_lookup, is_api_key
from imagequeue.store.money.accounts import keys_by_lookup
from imagequeue.store.tables import accounts, api_keys
from tests.builders import SECRET_KEY, count

NEW_KEY = "another secret key of the tests; it is long enough"

app = typer.Typer()
app.add_typer(keys.app)
app.add_typer(wallet.app)


class Shell:
    """Runs commands with an environment of their own."""

    def __init__(self, database_url: str) -> None:
        self.environment = {"IMAGEQUEUE_DATABASE_URL": database_url, "IMAGEQUEUE_SECRET_KEY": SECRET_KEY}

    def run(self, *words: str) -> Any:
        result = self.fail(*words, status=0)
        return json.loads(result) if "--json" in words else result

    def fail(self, *words: str, status: int = 1) -> str:
        result = CliRunner().invoke(app, words, env=self.environment)
        assert result.exit_code == status, result.output
        assert not result.exception or isinstance(result.exception, SystemExit)
        return result.output


@pytest.fixture
def shell(database_url: str) -> Shell:
    return Shell(database_url)


def test_a_key_is_printed_once_and_only_its_digest_is_stored(shell: Shell, engine: Engine) -> None:
    made = shell.run("keys", "create", "alice", "--funds", "12.5", "--rpm", "30", "--json")
    assert set(made) == {"id", "name", "key", "webhook_secret"}
    assert made["webhook_secret"].startswith("whsec_")
    with engine.connect() as connection:
        lookup = api_key_lookup(made["key"])
        assert lookup
        stored = keys_by_lookup(connection, [lookup])[lookup]
        rows = [connection.execute(select(table)).all() for table in (api_keys, accounts)]
        sealed = connection.execute(text("SELECT webhook_secrets FROM accounts")).scalar_one()
    assert is_api_key(made["key"], stored.digest)
    assert (stored.rpm, stored.operator, stored.account_name) == (30, False, "alice")
    assert made["key"] not in str(rows)
    assert made["webhook_secret"] not in str(rows)
    assert open_webhook_secrets(Keyring(SECRET_KEY), sealed) == [made["webhook_secret"]]
    assert shell.run("wallet", "show", "alice", "--json")["available"] == "12.5"


def test_a_second_key_shares_the_account(shell: Shell, engine: Engine) -> None:
    first = shell.run("keys", "create", "alice", "--json")
    second = shell.run("keys", "create", "ci", "--account", "alice", "--operator", "--funds", "1", "--json")
    assert second["name"] == "ci"
    assert second["webhook_secret"] == first["webhook_secret"]
    assert count(engine, "accounts") == 1
    listed = shell.run("keys", "list", "--json")
    assert [(key["account"], key["name"], key["operator"]) for key in listed] == [
        ("alice", "alice", False),
        ("alice", "ci", True),
    ]
    assert first["key"] not in shell.run("keys", "list")
    assert shell.run("wallet", "show", "alice", "--json")["available"] == "1"


def test_an_account_has_a_weight(shell: Shell, engine: Engine) -> None:
    shell.run("keys", "create", "alice")
    shell.run("keys", "create", "bob", "--weight", "100")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, weight FROM accounts ORDER BY name")).all()
    assert rows == [("alice", 1), ("bob", 100)]


@pytest.mark.parametrize("weight", ["0", "101", "1.5"])
def test_a_weight_out_of_range_is_refused(shell: Shell, engine: Engine, weight: str) -> None:
    assert "--weight" in shell.fail("keys", "create", "alice", "--weight", weight, status=2)
    assert count(engine, "accounts") == 0


def test_revoking(shell: Shell) -> None:
    made = shell.run("keys", "create", "alice", "--json")
    shell.run("keys", "revoke", made["id"])
    assert shell.run("keys", "list", "--account", "alice", "--json")[0]["revoked_at"]
    assert "No key" in shell.fail("keys", "revoke", "01890000-0000-7000-8000-000000000000")


def test_a_webhook_secret_is_rotated_by_the_name_of_the_account(shell: Shell) -> None:
    before = shell.run("keys", "create", "alice", "--json")["webhook_secret"]
    rotated = shell.run("keys", "rotate-webhook-secret", "alice", "--json")
    assert set(rotated) == {"webhook_secret", "old_secrets_until"}
    assert rotated["webhook_secret"].startswith("whsec_")
    assert rotated["webhook_secret"] != before
    at_once = shell.run("keys", "rotate-webhook-secret", "alice", "--overlap-hours", "0")
    assert "signs no more" in at_once
    assert shell.run("keys", "create", "ci", "--account", "alice", "--json")["webhook_secret"] in at_once
    assert "No account" in shell.fail("keys", "rotate-webhook-secret", "bob")


def test_the_old_secret_key_is_not_needed_after_reencrypt(shell: Shell) -> None:
    secrets = {shell.run("keys", "create", name, "--json")["webhook_secret"] for name in ("alice", "bob")}
    shell.environment["IMAGEQUEUE_SECRET_KEY"] = f"{NEW_KEY},{SECRET_KEY}"
    assert shell.run("keys", "reencrypt", "--json") == {"reencrypted": 2}
    shell.environment["IMAGEQUEUE_SECRET_KEY"] = NEW_KEY
    more = [shell.run("keys", "create", "more", "--account", name, "--json") for name in ("alice", "bob")]
    assert {key["webhook_secret"] for key in more} == secrets
    shell.environment["IMAGEQUEUE_SECRET_KEY"] = SECRET_KEY
    assert "IMAGEQUEUE_SECRET_KEY" in shell.fail("keys", "reencrypt")


def test_deposits_add_up(shell: Shell) -> None:
    shell.run("keys", "create", "alice")
    shell.run("wallet", "deposit", "alice", "0.000000001")
    assert shell.run("wallet", "deposit", "alice", "2", "--json") == {
        "account": "alice",
        "available": "2.000000001",
        "held": "0",
        "spent": "0",
    }


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("keys", "create", "alice"), "already"),
        (("keys", "create", " "), "printable"),
        (("keys", "create", "bob", "--funds", "much"), "not an amount"),
        (("keys", "create", "bob", "--funds", "-1"), "amount"),
        (("keys", "create", "bob", "--funds", "nan"), "not an amount"),
        (("keys", "create", "x", "--account", "nobody"), "No account 'nobody'"),
        (("keys", "create", "x", "--account", "alice", "--weight", "2"), "new account"),
        (("keys", "create", "x", "--account", "alice", "--funds", "-1"), "An amount"),
        (("keys", "create", "x", "--account", "alice", "--funds", "0.0000000001"), "nine decimals"),
        (("keys", "create", "x", "--account", "alice", "--funds", "1000000000"), "An amount"),
        (("wallet", "deposit", "alice", "1e400"), "An amount"),
        (("wallet", "deposit", "alice", "1e-400"), "nine decimals"),
        (("wallet", "deposit", "alice", "sNaN"), "not an amount"),
        (("wallet", "show", "\udcff"), "characters"),
        (("wallet", "deposit", "alice", "0"), "above zero"),
        (("wallet", "deposit", "alice", "0.0000000001"), "nine decimals"),
        (("wallet", "show", "nobody"), "No account 'nobody'"),
    ],
)
def test_refusals_are_one_line_and_change_nothing(
    shell: Shell, engine: Engine, words: list[str], complaint: str
) -> None:
    shell.run("keys", "create", "alice")
    output = shell.fail(*words)
    assert complaint in output
    assert len(output.splitlines()) == 1
    assert (count(engine, "accounts"), count(engine, "api_keys"), count(engine, "ledger_entries")) == (
        1,
        1,
        0,
    )


def test_a_wallet_that_would_hold_too_much_is_one_line_and_unchanged(shell: Shell) -> None:
    shell.run("keys", "create", "alice", "--funds", "999999999")
    assert "less than" in shell.fail("wallet", "deposit", "alice", "1")
    assert "less than" in shell.fail("keys", "create", "x", "--account", "alice", "--funds", "1")
    assert len(shell.run("keys", "list", "--json")) == 1


def test_a_limit_beyond_every_use_is_refused_by_its_option(shell: Shell) -> None:
    assert "--rpm" in shell.fail("keys", "create", "alice", "--rpm", "99999999999", status=2)


@pytest.mark.parametrize("url", ["postgresql://", "mysql://h/d", "nonsense", "postgresql://h:port/d", ""])
def test_a_database_url_that_is_none_is_one_line(shell: Shell, url: str) -> None:
    shell.environment["IMAGEQUEUE_DATABASE_URL"] = url
    output = shell.fail("keys", "list")
    assert "database" in output.casefold()
    assert len(output.splitlines()) == 1


def test_a_database_without_tables_is_one_line(shell: Shell, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE api_keys RENAME TO away"))
    output = shell.fail("keys", "list")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO api_keys"))
    assert "imagequeue migrate" in output
    assert len(output.splitlines()) == 1


def test_a_database_that_is_away_is_one_line(shell: Shell) -> None:
    shell.environment["IMAGEQUEUE_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    assert "database does not answer" in shell.fail("keys", "list")


def test_a_short_secret_key_is_refused_by_name(shell: Shell) -> None:
    shell.environment["IMAGEQUEUE_SECRET_KEY"] = "short"
    assert "IMAGEQUEUE_SECRET_KEY" in shell.fail("keys", "create", "alice")


def test_the_first_key_is_made_only_once(engine: Engine) -> None:
    keyring = Keyring(SECRET_KEY)
    first = create_first_key(engine, keyring, "first", Decimal(100))
    assert first is not None
    assert create_first_key(engine, keyring, "first", Decimal(100)) is None
    with pytest.raises(ConfigurationError):
        open_webhook_secrets(Keyring("another secret key, also long enough."), keyring.encrypt("x"))
