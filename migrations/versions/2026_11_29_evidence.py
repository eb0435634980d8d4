"""deployment_states: which calls are the evidence against a deployment, by account and request.

Refusals that were counted before are forgotten: their accounts are not known.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_29_evidence"
down_revision: str | None = "2026_11_29_job_failures"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        ALTER TABLE deployment_states
            DROP COLUMN refused,
            ADD COLUMN failed text[] NOT NULL DEFAULT '{}',
            ADD COLUMN refused text[] NOT NULL DEFAULT '{}',
            ADD COLUMN opened_by uuid
    """)


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        ALTER TABLE deployment_states
            DROP COLUMN failed, DROP COLUMN opened_by, DROP COLUMN refused,
            ADD COLUMN refused bigint[] NOT NULL DEFAULT '{}'
    """)
