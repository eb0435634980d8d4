"""images: the digest of the bytes."""

from __future__ import annotations

from alembic import op

revision = "2026_11_30_image_digests"
down_revision: str | None = "2026_11_30_batch_inputs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE images ADD COLUMN sha256 BYTEA")


def downgrade() -> None:
    """Undo."""
    op.execute("ALTER TABLE images DROP COLUMN sha256")
