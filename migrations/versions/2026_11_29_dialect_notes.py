"""job_requests.notes: what a dialect wants to know again when it answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_dialect_notes"
down_revision: str | None = "2026_11_26_unfetched_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("job_requests", sa.Column("notes", sa.Text(), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("job_requests", "notes")
