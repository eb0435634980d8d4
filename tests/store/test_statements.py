"""Every statement that stands in a module is one that the server understands, whichever version it is."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import walk_packages

import psycopg
from psycopg.errors import AmbiguousFunction, AmbiguousParameter, DatatypeMismatch
from sqlalchemy import TextClause, make_url
from sqlalchemy.dialects.postgresql.psycopg import dialect

import imagequeue.store

LEAST = 100
"""There are more, so fewer would mean that they are not found."""


_UNTYPED = (AmbiguousFunction, AmbiguousParameter, DatatypeMismatch)
"""What comes of parameters of which PREPARE guesses the types; psycopg says them with the values."""


def test_the_server_understands_every_statement(database_url: str) -> None:
    refused, statements = dict[str, str](), _statements()
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        for number, (name, sql) in enumerate(statements.items()):
            try:
                connection.execute(f"PREPARE statement_{number} AS {sql}".encode())
            except _UNTYPED:
                continue
            except psycopg.Error as error:
                refused[name] = str(error)
    assert refused == {}
    assert len(statements) > LEAST


def _statements() -> dict[str, str]:
    """The SQL of each statement, by module and name, with the parameters as PREPARE wants them."""
    found = dict[str, str]()
    for module in walk_packages(imagequeue.store.__path__, "imagequeue.store."):
        for name, value in vars(import_module(module.name)).items():
            if isinstance(value, TextClause):
                found[f"{module.name}.{name}"] = _numbered(value)
    return found


def _numbered(statement: TextClause) -> str:
    compiled = statement.compile(dialect=dialect())
    numbers = {name: number for number, name in enumerate(compiled.params, 1)}
    sql = re.sub(r"%\((\w+)\)s", lambda match: f"${numbers[match[1]]}", str(compiled))
    return sql.replace("%%", "%")
