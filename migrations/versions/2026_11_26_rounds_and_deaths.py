"""A job's failures count in rounds, its deaths by process: when a round failed, and which attempts died.

Failures that were counted before stay. The deaths of a live job are counted again from its attempts.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_26_rounds_and_deaths"
down_revision: str | None = "2026_11_21_job_margins_view"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE jobs ADD COLUMN failed_at timestamptz")
    op.execute("""
        ALTER TABLE attempts
            ADD COLUMN process_died boolean NOT NULL DEFAULT false,
            ADD CONSTRAINT ck_attempts_died_as_somebody CHECK (process_died <= (process_id IS NOT NULL))
    """)


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE attempts DROP COLUMN process_died")
    op.execute("ALTER TABLE jobs DROP COLUMN failed_at")
