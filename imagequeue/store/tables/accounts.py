"""Who pays: accounts, their keys, wallets and ledger (docs/design/pipeline.md, "Money")."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)

from imagequeue.store.tables.metadata import metadata, moment, one_of, primary_id, usd

accounts = Table(
    "accounts",
    metadata,
    primary_id(),
    Column("name", Text, nullable=False, unique=True),
    Column("webhook_secrets", Text, nullable=False),  # encrypted; newest first, spaces between
    moment("old_secrets_until"),  # all but the newest sign until then; none: the newest alone
    Column("weight", Integer, nullable=False, server_default="1"),
    moment("created_at", now=True),
    CheckConstraint("weight BETWEEN 1 AND 1000", name="weight_range"),
)

api_keys = Table(
    "api_keys",
    metadata,
    primary_id(),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("lookup", Text, nullable=False, unique=True),  # the public part of the key
    Column("digest", LargeBinary, nullable=False),  # of the whole key, which is not stored
    Column("operator", Boolean, nullable=False, server_default=false()),
    Column("rpm", Integer, nullable=True),
    moment("created_at", now=True),
    moment("revoked_at"),
    CheckConstraint("rpm > 0", name="rpm_positive"),
)

wallets = Table(
    "wallets",
    metadata,
    Column("account_id", Uuid, ForeignKey("accounts.id"), primary_key=True),
    usd("available"),
    usd("held"),
    usd("spent"),
    CheckConstraint("available >= 0", name="available_not_negative"),
    CheckConstraint("held >= 0", name="held_not_negative"),
    CheckConstraint("spent >= 0", name="spent_not_negative"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    primary_id(),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("kind", Text, nullable=False),
    usd("amount"),  # what it does to `available`
    usd("captured", nullable=True),  # what a CAPTURE takes for good
    Column("job_id", Uuid, nullable=True),
    Column("hold_id", Uuid, ForeignKey("ledger_entries.id"), nullable=True),
    moment("created_at", now=True),
    one_of("kind", ("DEPOSIT", "HOLD", "CAPTURE", "VOID")),
    CheckConstraint(
        "CASE kind WHEN 'DEPOSIT' THEN amount > 0 WHEN 'HOLD' THEN amount <= 0 "
        "WHEN 'VOID' THEN amount >= 0 ELSE amount = 0 END",
        name="amount_sign",
    ),
    CheckConstraint("(kind = 'CAPTURE') = (captured IS NOT NULL)", name="captured_by_capture_only"),
    CheckConstraint("captured >= 0", name="captured_not_negative"),
    CheckConstraint("(kind IN ('CAPTURE', 'VOID')) = (hold_id IS NOT NULL)", name="hold_named"),
    CheckConstraint("(kind = 'DEPOSIT') = (job_id IS NULL)", name="job_named"),
    UniqueConstraint("hold_id"),  # one end for each hold: it cannot be captured twice
    Index("uq_ledger_entries_job_hold", "job_id", unique=True, postgresql_where=text("kind = 'HOLD'")),
    Index("ix_ledger_entries_account_id_id", "account_id", "id"),
)
