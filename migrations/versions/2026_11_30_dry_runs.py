"""batches.dry_run, batch_parts.demand: a file is only checked, and what it asks for is counted."""

from __future__ import annotations

from alembic import op

revision = "2026_11_30_dry_runs"
down_revision: str | None = "2026_11_30_image_digests"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE batches ADD COLUMN dry_run BOOLEAN NOT NULL DEFAULT false")
    op.execute("ALTER TABLE batch_parts ADD COLUMN demand JSONB NOT NULL DEFAULT '[]'")


def downgrade() -> None:
    """Undo."""
    op.execute("ALTER TABLE batch_parts DROP COLUMN demand")
    op.execute("ALTER TABLE batches DROP COLUMN dry_run")
