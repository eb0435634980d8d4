"""`imagequeue migrate` without a database to migrate, and through a pooler: one line, never a traceback."""

from __future__ import annotations

import pytest
import typer
from sqlalchemy import make_url
from typer.testing import CliRunner

from cli.migrate import migrate
from tests.pgbouncer import pgbouncer

app = typer.Typer()
app.command()(migrate)


@pytest.fixture(autouse=True)
def no_other_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGEQUEUE_TEST_DATABASE_URL", raising=False)


def _line(url: str, status: int) -> str:
    """What the command says, which is a line."""
    result = CliRunner().invoke(app, env={"IMAGEQUEUE_DATABASE_URL": url})
    assert result.exit_code == status, result.output
    (line,) = result.output.splitlines()
    return line


def test_a_server_that_does_not_answer_is_one_line() -> None:
    assert "The database does not answer" in _line("postgresql://nobody@127.0.0.1:1/none", 1)


def test_a_database_that_nobody_has_made_is_one_line(database_url: str) -> None:
    missing = make_url(database_url).set(database="nobody_made_it").render_as_string(hide_password=False)
    assert '"nobody_made_it" does not exist' in _line(missing, 1)


def test_the_url_of_another_driver_is_one_line() -> None:
    assert "postgresql+asyncpg" in _line("postgresql+asyncpg://u@h/db", 2)


def test_a_pooler_is_one_line_until_the_setting_tells_of_it(database_url: str) -> None:
    with pgbouncer(make_url(database_url)) as pooled:
        url = pooled.render_as_string(hide_password=False)
        assert "IMAGEQUEUE_DATABASE_POOLER" in _line(url, 1)
        told = {"IMAGEQUEUE_DATABASE_URL": url, "IMAGEQUEUE_DATABASE_POOLER": "transaction"}
        result = CliRunner().invoke(app, env=told)
    assert result.exit_code == 0, result.output
