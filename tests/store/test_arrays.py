"""Arrays as text: Postgres reads what was written, whatever is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError

from imagequeue.domain.ids import new_id
from imagequeue.store.arrays import array

TEXTS = [
    "",
    "NULL",
    "null",
    None,
    " spaces ",
    "a,b",
    "{}",
    '"quoted"',
    '\\"',
    "\\",
    "\\\\x00",
    "line\nbreak\ttab",
    "caf\xe9 \u2003 \U0001f4f7",
    '{"a": ["b", "\\u0000"]}',
]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", TEXTS),
        ("text", []),
        ("uuid", [new_id(), None, new_id()]),
        ("int", [0, -1, 2**31 - 1, None]),
        ("numeric", [Decimal("0.0400"), Decimal(-10), None]),
        ("timestamptz", [datetime(2026, 3, 31, 10, 0, 0, 1, UTC), None]),
        ("boolean", [True, False, None]),
        ("bytea", [b"", b'\x00\xff\\"', None]),
    ],
)
def test_postgres_reads_what_was_written(engine: Engine, kind: str, values: list[object]) -> None:
    cast = f"CAST(:given AS {kind}[])"
    statement = text(f"SELECT element FROM unnest({cast}) AS new (element)")  # noqa: S608  # a type's name
    with engine.connect() as connection:
        assert list(connection.execute(statement, {"given": array(values)}).scalars()) == values


def test_a_nul_is_refused_and_not_repeated(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DataError) as refused:
        connection.execute(text("SELECT CAST(:given AS text[])"), {"given": array(["my secret\0"])})
    assert "secret" not in str(refused.value)
