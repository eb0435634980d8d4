"""ix_jobs_unfetched: the queued jobs whose input images are still to be fetched."""

from __future__ import annotations

from alembic import op

revision = "2026_11_26_unfetched_jobs"
down_revision: str | None = "2026_11_26_retention"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        CREATE INDEX ix_jobs_unfetched ON jobs (flow_id, not_before)
        WHERE status = 'QUEUED' AND not_before IS NOT NULL
    """)


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP INDEX ix_jobs_unfetched")
