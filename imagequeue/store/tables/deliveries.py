"""Webhooks: one event to one target, and every delivery attempt (docs/design/webhooks.md, "Guarantee")."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    Float,
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
    # Of the end of a job or of an event of a batch. A job has one event, so that one needs no id of its own.
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=True),
    Column("batch_id", Uuid, nullable=True),
    Column("event_id", Uuid, nullable=True),
    # None: the own URL of the job or batch. No foreign key: an endpoint may be deleted before its deliveries.
    Column("endpoint_id", Uuid, nullable=True),
    Column("webhook_id", Text, nullable=False),  # stable over retries and redeliveries
    Column("url", Text, nullable=False),
    Column("target", Text, nullable=False),  # scheme://host:port
    Column("body", Text, nullable=False),  # fixed when the event is written
    Column("state", Text, nullable=False, server_default="PENDING"),
    Column("attempt_count", SmallInteger, nullable=False, server_default="0"),
    Column("schedule_from", SmallInteger, nullable=False, server_default="0"),  # attempts until redelivery
    moment("next_attempt_at", now=True),
    Column("fence", Integer, nullable=False, server_default="0"),
    moment("leased_until"),
    moment("created_at", now=True),
    moment("aged_from", now=True),  # the age limit counts from here: the event, or a redelivery
    moment("finished_at"),
    one_of("state", ("PENDING", "DELIVERED", "DEAD")),
    CheckConstraint("(finished_at IS NULL) = (state = 'PENDING')", name="finished_when_closed"),
    CheckConstraint("num_nonnulls(job_id, batch_id) = 1", name="of_a_job_or_a_batch"),
    CheckConstraint("(event_id IS NULL) = (batch_id IS NULL)", name="event_of_a_batch"),
    Index("ix_deliveries_due", "next_attempt_at", postgresql_where=text("state = 'PENDING'")),
    Index(
        "ix_deliveries_firsts",
        "account_id",
        "target",
        "next_attempt_at",
        postgresql_where=text("state = 'PENDING' AND attempt_count = 0"),
    ),
    Index(
        "ix_deliveries_retries",
        "account_id",
        "target",
        "next_attempt_at",
        postgresql_where=text("state = 'PENDING' AND attempt_count > 0"),
    ),
    Index(
        "ix_deliveries_leased",
        "leased_until",
        postgresql_where=text("state = 'PENDING' AND leased_until IS NOT NULL"),
    ),
    Index("ix_deliveries_aged", "aged_from", postgresql_where=text("state = 'PENDING'")),
    Index("ix_deliveries_dead", "account_id", "created_at", "id", postgresql_where=text("state = 'DEAD'")),
    Index("ix_deliveries_over", "state", "finished_at", postgresql_where=text("state <> 'PENDING'")),
    Index("uq_deliveries_job_id_url", "job_id", "url", unique=True),
    Index(
        "uq_deliveries_event_id_url",
        "event_id",
        "url",
        unique=True,
        postgresql_where=text("event_id IS NOT NULL"),
    ),
)
"""The outbox: written in the transaction of the event; `next_attempt_at` is the schedule."""

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    primary_id(),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("target", Text, nullable=False),  # scheme://host:port
    Column("event_types", ARRAY(Text), nullable=False),
    Column("webhook_secrets", Text, nullable=False),  # as an account's
    moment("old_secrets_until"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    Index("ix_webhook_endpoints_account_id", "account_id", "id"),
)
"""Where accounts want to be told of events, whatever the request."""

webhook_targets = Table(
    "webhook_targets",
    metadata,
    Column("account_id", Uuid, ForeignKey("accounts.id"), primary_key=True),
    Column("target", Text, primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0"),  # counted ones, in a row
    Column("quick", SmallInteger, nullable=False, server_default="0"),  # quick deliveries in a row
    Column("attempt_limit", SmallInteger, nullable=False, server_default="4"),  # attempts in flight
    Column("latency_seconds", Float, nullable=True),  # smoothed; none before the first answer
    moment("open_until"),
    moment("paused_until"),
    moment("served_at", now=True),
    CheckConstraint("attempt_limit BETWEEN 1 AND 16", name="attempt_limit_known"),
    Index("ix_webhook_targets_served_at", "served_at"),
)
"""What is known of each target. How many attempts are in flight is the count of its leases."""

webhook_recoveries = Table(
    "webhook_recoveries",
    metadata,
    primary_id(),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("since", DateTime(timezone=True), nullable=False),  # of the events
    Column("until", DateTime(timezone=True), nullable=False),
    moment("after_at"),  # the last delivery that was looked at: its event's time, and its id
    Column("after_id", Uuid, nullable=True),
    Column("redelivered", Integer, nullable=False, server_default="0"),
    Column("skipped", Integer, nullable=False, server_default="0"),
    moment("looked_at", now=True),
    moment("created_at", now=True),
    moment("finished_at"),
    CheckConstraint("since < until", name="range_not_empty"),
    Index("ix_webhook_recoveries_running", "looked_at", postgresql_where=text("finished_at IS NULL")),
    Index(
        "ix_webhook_recoveries_finished_at", "finished_at", postgresql_where=text("finished_at IS NOT NULL")
    ),
)
"""What accounts have asked to be redelivered; dispatchers take it forward step by step."""

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
