"""deliveries.schedule_from, the index of dead deliveries, webhook_recoveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_redeliveries"
down_revision: str | None = "2026_11_29_webhook_secrets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "deliveries", sa.Column("schedule_from", sa.SmallInteger(), server_default="0", nullable=False)
    )
    op.create_index(
        "ix_deliveries_dead",
        "deliveries",
        ["account_id", "created_at", "id"],
        postgresql_where=sa.text("state = 'DEAD'"),
    )
    op.execute("""
        CREATE TABLE webhook_recoveries (
            id uuid NOT NULL,
            account_id uuid NOT NULL,
            since timestamptz NOT NULL,
            until timestamptz NOT NULL,
            after_at timestamptz,
            after_id uuid,
            redelivered integer NOT NULL DEFAULT 0,
            skipped integer NOT NULL DEFAULT 0,
            looked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            finished_at timestamptz,
            CONSTRAINT pk_webhook_recoveries PRIMARY KEY (id),
            CONSTRAINT fk_webhook_recoveries_account_id FOREIGN KEY (account_id) REFERENCES accounts (id),
            CONSTRAINT ck_webhook_recoveries_range_not_empty CHECK (since < until)
        )
    """)
    op.create_index("ix_webhook_recoveries_account_id", "webhook_recoveries", ["account_id"])
    op.create_index(
        "ix_webhook_recoveries_running",
        "webhook_recoveries",
        ["looked_at"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        "ix_webhook_recoveries_finished_at",
        "webhook_recoveries",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("webhook_recoveries")
    op.drop_index("ix_deliveries_dead", "deliveries")
    op.drop_column("deliveries", "schedule_from")
