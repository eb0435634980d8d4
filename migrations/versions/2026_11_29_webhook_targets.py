"""webhook_targets, the indexes by target, deliveries.aged_from, processes.delivery_slots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_webhook_targets"
down_revision: str | None = "2026_11_29_poll_indexes"
branch_labels = None
depends_on = None

_PENDING = {
    "ix_deliveries_firsts": (["account_id", "target", "next_attempt_at"], "attempt_count = 0"),
    "ix_deliveries_retries": (["account_id", "target", "next_attempt_at"], "attempt_count > 0"),
    "ix_deliveries_leased": (["leased_until"], "leased_until IS NOT NULL"),
    "ix_deliveries_aged": (["aged_from"], "true"),
}


def upgrade() -> None:
    """Apply. `now()` is one value for all rows, so the new column does not rewrite the table."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        CREATE TABLE webhook_targets (
            account_id uuid NOT NULL,
            target text NOT NULL,
            failures integer NOT NULL DEFAULT 0,
            quick smallint NOT NULL DEFAULT 0,
            attempt_limit smallint NOT NULL DEFAULT 4,
            latency_seconds double precision,
            open_until timestamptz,
            paused_until timestamptz,
            served_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT pk_webhook_targets PRIMARY KEY (account_id, target),
            CONSTRAINT fk_webhook_targets_account_id FOREIGN KEY (account_id) REFERENCES accounts (id),
            CONSTRAINT ck_webhook_targets_attempt_limit_known CHECK (attempt_limit BETWEEN 1 AND 16)
        )
    """)
    op.create_index("ix_webhook_targets_served_at", "webhook_targets", ["served_at"])
    op.execute("ALTER TABLE deliveries ADD COLUMN aged_from timestamptz NOT NULL DEFAULT now()")
    op.execute("ALTER TABLE deliveries ALTER COLUMN aged_from SET DEFAULT clock_timestamp()")
    for name, (columns, condition) in _PENDING.items():
        also = "" if condition == "true" else f" AND {condition}"
        op.create_index(name, "deliveries", columns, postgresql_where=sa.text(f"state = 'PENDING'{also}"))
    op.add_column("processes", sa.Column("delivery_slots", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("processes", "delivery_slots")
    for name in _PENDING:
        op.drop_index(name, "deliveries")
    op.drop_column("deliveries", "aged_from")
    op.drop_table("webhook_targets")
