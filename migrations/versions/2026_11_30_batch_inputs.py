"""batch_inputs: the input images that lines of a batch name by URL, each fetched once."""

from __future__ import annotations

from alembic import op

revision = "2026_11_30_batch_inputs"
down_revision: str | None = "2026_11_30_flows_of_batches"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        CREATE TABLE batch_inputs (
            batch_id UUID NOT NULL,
            url_digest BYTEA NOT NULL,
            is_mask BOOLEAN NOT NULL,
            url TEXT NOT NULL,
            since INTEGER NOT NULL,
            tries SMALLINT DEFAULT '0' NOT NULL,
            due_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp(),
            storage_key TEXT,
            refusal TEXT,
            CONSTRAINT pk_batch_inputs PRIMARY KEY (batch_id, url_digest, is_mask),
            CONSTRAINT fk_batch_inputs_batch_id_batches FOREIGN KEY(batch_id) REFERENCES batches (id),
            CONSTRAINT ck_batch_inputs_due_until_known
                CHECK (num_nonnulls(due_at, storage_key, refusal) = 1)
        )
    """)
    op.execute("CREATE INDEX ix_batch_inputs_due_at ON batch_inputs (due_at) WHERE due_at IS NOT NULL")
    op.execute(
        "CREATE INDEX ix_batch_inputs_storage_key ON batch_inputs (storage_key) WHERE storage_key IS NOT NULL"
    )


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("batch_inputs")
