"""Retention of webhooks and input images; drops a column and a table that nothing used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_26_retention"
down_revision: str | None = "2026_11_26_event_totals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("leases")
    op.drop_column("jobs", "cancelled_at")
    op.create_index(
        "ix_deliveries_over",
        "deliveries",
        ["state", "finished_at"],
        postgresql_where=sa.text("state <> 'PENDING'"),
    )
    _create_input_images()


def _create_input_images() -> None:
    """Create the table, with a row for every stored input that a job names, and the indexes by key."""
    op.create_table(
        "input_images",
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("storage_key", name="pk_input_images"),
    )
    op.create_index("ix_input_images_kept_until", "input_images", ["kept_until"])
    op.create_index(
        "ix_job_requests_input_images",
        "job_requests",
        [sa.text("(parameters -> 'input_images')")],
        postgresql_using="gin",
        postgresql_where=sa.text("parameters -> 'input_images' <> '[]'::jsonb"),
    )
    op.create_index(
        "ix_job_requests_mask",
        "job_requests",
        [sa.text("(parameters ->> 'mask')")],
        postgresql_where=sa.text("parameters ->> 'mask' IS NOT NULL"),
    )
    op.execute("""
        INSERT INTO input_images (storage_key, kept_until)
        SELECT DISTINCT key, clock_timestamp() + interval '1 day' FROM (
            SELECT jsonb_array_elements_text(parameters -> 'input_images') AS key FROM job_requests
            WHERE parameters -> 'input_images' <> '[]'::jsonb
            UNION ALL SELECT parameters ->> 'mask' FROM job_requests
        ) AS named WHERE key LIKE 'inputs/%'
    """)


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_job_requests_mask", "job_requests")
    op.drop_index("ix_job_requests_input_images", "job_requests")
    op.drop_table("input_images")
    op.drop_index("ix_deliveries_over", "deliveries")
    op.add_column("jobs", sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
