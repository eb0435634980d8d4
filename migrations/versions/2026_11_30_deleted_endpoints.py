"""webhook_endpoints: the row of a deleted endpoint goes at once, and with it its secret.

Deliveries that wait for one keep its id, which leads nowhere then; that is how they know.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_30_deleted_endpoints"
down_revision: str | None = "2026_11_29_webhook_endpoints"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DELETE FROM webhook_endpoints WHERE deleted_at IS NOT NULL")
    op.drop_index("ix_webhook_endpoints_live", "webhook_endpoints")
    op.drop_column("webhook_endpoints", "deleted_at")
    op.create_index("ix_webhook_endpoints_account_id", "webhook_endpoints", ["account_id", "id"])


def downgrade() -> None:
    """Undo. The code before took a delivery without its endpoint for one of the request's own URL."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_webhook_endpoints_account_id", "webhook_endpoints")
    op.add_column("webhook_endpoints", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_webhook_endpoints_live",
        "webhook_endpoints",
        ["account_id", "id"],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
