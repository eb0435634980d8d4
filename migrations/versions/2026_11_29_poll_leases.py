"""attempts: who polls for a sleeping attempt, until when, and how many polls have failed in a row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_poll_leases"
down_revision: str | None = "2026_11_29_rung_deliveries"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("attempts", sa.Column("polled_by", sa.Uuid(), nullable=True))
    op.add_column("attempts", sa.Column("poll_leased_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("attempts", sa.Column("poll_failures", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("attempts", "poll_failures")
    op.drop_column("attempts", "poll_leased_until")
    op.drop_column("attempts", "polled_by")
