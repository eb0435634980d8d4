"""Flows are unique by what Postgres 14 knows too: NULLS NOT DISTINCT came with 15."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_30_flows_without_batch"
down_revision: str | None = "2026_11_30_batches"
branch_labels = None
depends_on = None

_NAME = "uq_flows_account_id_model_id_requirement_lane_batch_id"
_COLUMNS = ["account_id", "model_id", "requirement", "lane"]


def upgrade() -> None:
    """Apply. The table has a row for each kind of job of an account, so its indexes are made in a moment."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        "uq_flows_without_batch", "flows", _COLUMNS, unique=True, postgresql_where=sa.text("batch_id IS NULL")
    )
    op.drop_constraint(op.f(_NAME), "flows")
    op.create_unique_constraint(op.f(_NAME), "flows", [*_COLUMNS, "batch_id"])


def downgrade() -> None:
    """Undo. On Postgres 14 flows without a batch are not unique then: the program of that revision needs 15."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_constraint(op.f(_NAME), "flows")
    known = (op.get_bind().dialect.server_version_info or (0,)) >= (15,)
    op.create_unique_constraint(
        op.f(_NAME), "flows", [*_COLUMNS, "batch_id"], postgresql_nulls_not_distinct=known or None
    )
    op.drop_index("uq_flows_without_batch", "flows")
