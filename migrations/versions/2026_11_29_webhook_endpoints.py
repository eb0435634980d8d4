"""webhook_endpoints, deliveries.endpoint_id."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_webhook_endpoints"
down_revision: str | None = "2026_11_29_redeliveries"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        CREATE TABLE webhook_endpoints (
            id uuid NOT NULL,
            account_id uuid NOT NULL,
            name text NOT NULL,
            url text NOT NULL,
            target text NOT NULL,
            event_types text[] NOT NULL,
            webhook_secrets text NOT NULL,
            old_secrets_until timestamptz,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            deleted_at timestamptz,
            CONSTRAINT pk_webhook_endpoints PRIMARY KEY (id),
            CONSTRAINT fk_webhook_endpoints_account_id FOREIGN KEY (account_id) REFERENCES accounts (id)
        )
    """)
    op.create_index(
        "ix_webhook_endpoints_live",
        "webhook_endpoints",
        ["account_id", "id"],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.add_column("deliveries", sa.Column("endpoint_id", sa.Uuid(), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("deliveries", "endpoint_id")
    op.drop_table("webhook_endpoints")
