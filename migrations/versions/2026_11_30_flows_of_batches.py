"""flows: `open` and `weight`, by which a batch pauses its jobs and takes turns; jobs: `on_unknown`.

batches: what is to be retried, and what is given up.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_30_flows_of_batches"
down_revision: str | None = "2026_11_30_claimed_deliveries"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Every column has a constant default, so no row is rewritten."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("flows", sa.Column("open", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("flows", sa.Column("weight", sa.SmallInteger(), server_default="1", nullable=False))
    op.create_check_constraint(op.f("ck_flows_weight_range"), "flows", "weight BETWEEN 1 AND 1000")
    op.create_check_constraint(
        op.f("ck_flows_changed_by_batch_only"), "flows", "batch_id IS NOT NULL OR (open AND weight = 1)"
    )
    op.create_index(
        "ix_flows_batch_id", "flows", ["batch_id"], postgresql_where=sa.text("batch_id IS NOT NULL")
    )
    op.add_column("job_requests", sa.Column("on_unknown", sa.Text(), server_default="retry", nullable=False))
    op.create_check_constraint(
        op.f("ck_job_requests_on_unknown_known"), "job_requests", "on_unknown IN ('retry', 'fail', 'hold')"
    )
    op.add_column("batches", sa.Column("retry_to", sa.Integer(), nullable=True))
    op.add_column("batches", sa.Column("retry_codes", postgresql.ARRAY(sa.Text()), nullable=True))
    op.add_column("batches", sa.Column("give_up_to", sa.Integer(), nullable=True))
    op.create_check_constraint(
        op.f("ck_batches_retry_codes_of_a_retry"), "batches", "retry_codes IS NULL OR retry_to IS NOT NULL"
    )


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in ("retry_codes", "retry_to", "give_up_to"):
        op.drop_column("batches", name)
    op.drop_column("job_requests", "on_unknown")
    op.drop_index("ix_flows_batch_id", "flows")
    op.drop_column("flows", "weight")
    op.drop_column("flows", "open")
