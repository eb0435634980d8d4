"""attempts: indexes of those that sleep, by when their poll is due and by when its lease ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_poll_indexes"
down_revision: str | None = "2026_11_29_poll_leases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        "ix_attempts_polls_due",
        "attempts",
        ["lane", "deployment", "poll_after"],
        postgresql_where=sa.text("state = 'SLEEPING'"),
    )
    op.create_index(
        "ix_attempts_polls_leased",
        "attempts",
        ["lane", "deployment", "poll_leased_until"],
        postgresql_where=sa.text("state = 'SLEEPING' AND poll_leased_until IS NOT NULL"),
    )


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_attempts_polls_leased", "attempts")
    op.drop_index("ix_attempts_polls_due", "attempts")
