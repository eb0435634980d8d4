"""deliveries: who claims one begins its attempt, so there is no moment between."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_30_claimed_deliveries"
down_revision: str | None = "2026_11_30_flows_without_batch"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_deliveries_rung", "deliveries")
    op.drop_column("deliveries", "begun")


def downgrade() -> None:
    """Undo. An attempt that is being made looks like one that nobody has begun, until its lease ends."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("deliveries", sa.Column("begun", sa.Boolean(), server_default="false", nullable=False))
    op.create_index(
        "ix_deliveries_rung",
        "deliveries",
        ["leased_until"],
        postgresql_where=sa.text("state = 'PENDING' AND leased_until IS NOT NULL AND NOT begun"),
    )
