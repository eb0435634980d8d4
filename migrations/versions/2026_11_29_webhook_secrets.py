"""accounts.old_secrets_until: the end of the overlap of a rotation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_webhook_secrets"
down_revision: str | None = "2026_11_29_webhook_targets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("accounts", sa.Column("old_secrets_until", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("accounts", "old_secrets_until")
