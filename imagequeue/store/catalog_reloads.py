"""Requests that all processes read their catalog file again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text


def ask(connection: Connection) -> None:
    """Add a request."""
    connection.execute(text("INSERT INTO catalog_reloads DEFAULT VALUES"))


def last(connection: Connection) -> int:
    """The number of the last request; 0: there was none."""
    return connection.execute(text("SELECT coalesce(max(id), 0) FROM catalog_reloads")).scalar_one()


def asked_at(connection: Connection, number: int) -> datetime:
    """When a request was made; now, where there is none with this number."""
    statement = text("""
        SELECT coalesce((SELECT asked_at FROM catalog_reloads WHERE id = :id), clock_timestamp())
    """)
    return connection.execute(statement, {"id": number}).scalar_one()
