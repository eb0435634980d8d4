"""deliveries: a webhook may be of a batch's event instead of a job's end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_30_batch_deliveries"
down_revision: str | None = "2026_11_30_deleted_endpoints"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("deliveries", sa.Column("batch_id", sa.Uuid(), nullable=True))
    op.add_column("deliveries", sa.Column("event_id", sa.Uuid(), nullable=True))
    op.alter_column("deliveries", "job_id", nullable=True)
    op.create_check_constraint("of_a_job_or_a_batch", "deliveries", "num_nonnulls(job_id, batch_id) = 1")
    op.create_check_constraint("event_of_a_batch", "deliveries", "(event_id IS NULL) = (batch_id IS NULL)")
    op.create_index(
        "uq_deliveries_event_id_url",
        "deliveries",
        ["event_id", "url"],
        unique=True,
        postgresql_where=sa.text("event_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Undo. The code before knows no webhooks of batches, so those go."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        DELETE FROM delivery_attempts USING deliveries
        WHERE delivery_id = deliveries.id AND batch_id IS NOT NULL
    """)
    op.execute("DELETE FROM deliveries WHERE batch_id IS NOT NULL")
    op.drop_index("uq_deliveries_event_id_url", "deliveries")
    op.drop_constraint("event_of_a_batch", "deliveries", type_="check")
    op.drop_constraint("of_a_job_or_a_batch", "deliveries", type_="check")
    op.alter_column("deliveries", "job_id", nullable=False)
    op.drop_column("deliveries", "event_id")
    op.drop_column("deliveries", "batch_id")
