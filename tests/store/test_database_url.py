"""The database's URL as people have it: what libpq is told, and what is refused without a password."""

from __future__ import annotations

import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.store.database_url import parameters_of

ONE = {"user": "u", "password": "p", "host": "h", "dbname": "db"}
TWO = {"user": "u", "password": "p", "host": "a,b", "port": "5432,5433", "dbname": "db"}


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("postgresql://u:p@h/db", ONE),
        ("postgres://u:p@h/db", ONE),
        ("postgresql+psycopg://u:p@h/db", ONE),
        ("postgresql://u:p@h/db\n", ONE),
        ("postgresql://u:p@a:5432,b:5433/db", TWO),
        ("postgresql://u:p@/db?host=a:5432&host=b:5433", TWO),
        ("postgresql+psycopg://u:p@/db?host=a:5432&host=b:5433", TWO),
        ("postgresql://u:p@/db?host=a,b&port=5432,5433", TWO),
        ("postgresql+psycopg://u:p@/db?host=a&host=b&port=5432", TWO | {"port": "5432"}),
        ("postgresql://u:p@/db?host=a:5432", ONE | {"host": "a", "port": "5432"}),
        ("postgresql://u:p@[::1]:5432/db", ONE | {"host": "::1", "port": "5432"}),
        ("postgresql://u:p@/db?host=::1", ONE | {"host": "::1"}),
        ("postgresql:///db?host=/var/run/postgresql", {"host": "/var/run/postgresql", "dbname": "db"}),
        ("postgresql://u:p@h/db?sslmode=verify-full", ONE | {"sslmode": "verify-full"}),
        ("postgresql://u:p@h/db?options=-csearch_path%3Dapp", ONE | {"options": "-csearch_path=app"}),
        ("postgresql://u:p@h/db?options=-csearch_path=app", ONE | {"options": "-csearch_path=app"}),
        ("postgresql://u:p@h/db?options=-c%20a.b%3Dc", ONE | {"options": "-c a.b=c"}),
        ("postgresql+psycopg://u:p@h/db?options=-c+a.b%3Dc", ONE | {"options": "-c a.b=c"}),
        ("postgresql://u:p@h/db?options=-cTimeZone=Etc/GMT+3", ONE | {"options": "-cTimeZone=Etc/GMT+3"}),
        ("postgresql://u:p%40%2F@h/db", ONE | {"password": "p@/"}),
    ],
)
def test_a_url_says_to_libpq_what_its_writer_meant(url: str, parameters: dict[str, str]) -> None:
    assert parameters_of(url) == parameters


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret%zz@h/db",
        "postgresql://u:secret/more@h/db",
        "postgresql://u:123/secret@h/db",
        "postgresql://u:secret?more@h/db",
        "postgresql://u@h:secret/db",
        "postgresql://u@[::1/secret",
    ],
)
def test_a_url_that_libpq_cannot_read_is_refused_in_a_line_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^IMAGEQUEUE_DATABASE_URL: .*%40") as error:
        parameters_of(url)
    assert "secret" not in error.value.message
    assert "\n" not in error.value.message


def test_a_parameter_of_another_program_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r'^IMAGEQUEUE_DATABASE_URL: .*"schema"$') as error:
        parameters_of("postgresql://u:secret@h/db?schema=public")
    assert "secret" not in error.value.message
