"""event_totals: how many jobs entered each status, for the time after the events are deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_26_event_totals"
down_revision: str | None = "2026_11_26_rounds_and_deaths"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "event_totals",
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("entered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("counted_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "status IN ('QUEUED', 'PROCESSING', 'COMPLETED', 'FAILED', 'ERROR')",
            name=op.f("ck_event_totals_status_known"),
        ),
        sa.CheckConstraint("entered >= 0", name=op.f("ck_event_totals_entered_not_negative")),
        sa.PrimaryKeyConstraint("status", name=op.f("pk_event_totals")),
    )
    op.execute("""
        INSERT INTO event_totals (status)
        VALUES ('QUEUED'), ('PROCESSING'), ('COMPLETED'), ('FAILED'), ('ERROR')
    """)


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("event_totals")
