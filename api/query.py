"""Reads of the database that happen too seldom to be gathered: wallets, attempts, operators' reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from api.bulkhead import isolated
from api.services import ApiServices

R = TypeVar("R")


@isolated(what="reads", threads=2)
def query(services: ApiServices, read: Callable[[Connection], R]) -> R:
    """Run a reading function in a worker thread, with a connection of its own."""
    with services.runtime.engine.begin() as connection:
        return read(connection)
