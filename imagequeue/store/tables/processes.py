"""Processes and their heartbeats (docs/design/pipeline.md, "Sweep"), and requests to all processes."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Integer, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from imagequeue.store.tables.metadata import metadata, moment, one_of, primary_id

processes = Table(
    "processes",
    metadata,
    primary_id(),  # new at every start
    Column("kind", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    Column("slots", Integer, nullable=False),
    Column("delivery_slots", Integer, nullable=False, server_default="0"),
    Column("beat", BigInteger, nullable=False, server_default="0"),
    moment("beat_at", now=True),
    moment("started_at", now=True),
    one_of("kind", ("api", "dispatcher", "worker")),
    CheckConstraint("slots >= 0", name="slots_not_negative"),
)

catalog_reloads = Table(
    "catalog_reloads",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    moment("asked_at", now=True),
)
"""Each row asks every process to read its catalog file again."""
