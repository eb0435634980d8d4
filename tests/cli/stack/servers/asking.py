"""Ask an embedded Postgres."""

import psycopg

from cli.stack.servers.postgres import EmbeddedPostgres


def ask(postgres: EmbeddedPostgres, query: str) -> str:
    """The first value of the answer to a query."""
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])
