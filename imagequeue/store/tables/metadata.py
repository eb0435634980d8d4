"""The metadata that every table belongs to, and the column shapes that recur."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, DateTime, MetaData, Numeric, Uuid, func

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

USD = Numeric(18, 9)
"""US dollars. Nine decimals, because one upstream reports 0.0626835 (docs/design/pipeline.md, "Money")."""


def primary_id() -> Column[UUID]:
    """A UUIDv7 primary key, made by the application."""
    return Column("id", Uuid, primary_key=True)


def moment(name: str, *, nullable: bool = True, now: bool = False) -> Column[datetime]:
    """A time on the database's clock; `now` fills it at insert."""
    default = func.clock_timestamp() if now else None
    return Column(name, DateTime(timezone=True), nullable=nullable and not now, server_default=default)


def usd(name: str, *, nullable: bool = False) -> Column[Decimal]:
    """An amount of US dollars."""
    return Column(name, USD, nullable=nullable)


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    """A CHECK for a column of text: adding a value is a cheap migration (to a Postgres enum it is not)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")
