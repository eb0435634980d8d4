"""Webhooks: one event to one target, and every delivery attempt (docs/design/webhooks.md, "Guarantee")."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from imagequeue.store.tables.metadata import metadata, moment, one_of, primary_id

deliveries = Table(
    "deliveries",
    metadata,
    primary_id(),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=False),
    Column("webhook_id", Text, nullable=False),  # stable over retries and redeliveries
    Column("url", Text, nullable=False),
    Column("target", Text, nullable=False),  # scheme://host:port
    Column("body", Text, nullable=False),  # fixed when the event is written
    Column("state", Text, nullable=False, server_default="PENDING"),
    Column("attempt_count", SmallInteger, nullable=False, server_default="0"),
    moment("next_attempt_at", now=True),
    Column("fence", Integer, nullable=False, server_default="0"),
    moment("leased_until"),
    Column("begun", Boolean, nullable=False, server_default="false"),  # a worker has begun the leased attempt
    moment("created_at", now=True),
    moment("finished_at"),
    one_of("state", ("PENDING", "DELIVERED", "DEAD")),
    CheckConstraint("(finished_at IS NULL) = (state = 'PENDING')", name="finished_when_closed"),
    Index("ix_deliveries_due", "next_attempt_at", postgresql_where=text("state = 'PENDING'")),
    Index(
        "ix_deliveries_rung",
        "leased_until",
        postgresql_where=text("state = 'PENDING' AND leased_until IS NOT NULL AND NOT begun"),
    ),
    Index("ix_deliveries_over", "state", "finished_at", postgresql_where=text("state <> 'PENDING'")),
    Index("uq_deliveries_job_id_url", "job_id", "url", unique=True),
)
"""The outbox: written in the transaction that settles the job; `next_attempt_at` is the schedule."""

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    primary_id(),
    Column("delivery_id", Uuid, ForeignKey("deliveries.id"), nullable=False),
    Column("number", SmallInteger, nullable=False),
    moment("started_at", now=True),
    Column("latency_ms", Integer, nullable=False),
    Column("http_status", SmallInteger, nullable=True),
    Column("outcome", Text, nullable=False),
    Column("response_excerpt", Text, nullable=False, server_default=""),
    Index("uq_delivery_attempts_delivery_id_number", "delivery_id", "number", unique=True),
)
