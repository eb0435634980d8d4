"""job_failures: a job remembers every deployment that failed it, and not only the last one.

What is known of a live job, the deployment that failed it last, is kept. The rounds that were counted before
count for that deployment.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_29_job_failures"
down_revision: str | None = "2026_11_29_dialect_notes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        CREATE TABLE job_failures (
            job_id uuid NOT NULL,
            deployment text NOT NULL,
            failures smallint NOT NULL DEFAULT 0,
            failed_at timestamptz,
            not_before timestamptz NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            CONSTRAINT pk_job_failures PRIMARY KEY (job_id, deployment),
            CONSTRAINT fk_job_failures_job_id FOREIGN KEY (job_id) REFERENCES jobs (id),
            CONSTRAINT ck_job_failures_failures_not_negative CHECK (failures >= 0)
        ) WITH (
            fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0
        )
    """)
    op.execute("""
        INSERT INTO job_failures (job_id, deployment, failures, failed_at, not_before)
        SELECT id, avoid_deployment, failures, failed_at, coalesce(not_before, clock_timestamp())
        FROM jobs WHERE status = 'PROCESSING' AND avoid_deployment IS NOT NULL
    """)
    op.execute("ALTER TABLE jobs DROP COLUMN avoid_deployment, DROP COLUMN failed_at")


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE jobs ADD COLUMN avoid_deployment text, ADD COLUMN failed_at timestamptz")
    op.execute("""
        UPDATE jobs
        SET avoid_deployment = last.deployment, failed_at = last.failed_at, not_before = last.not_before
        FROM (
            SELECT DISTINCT ON (job_id) * FROM job_failures ORDER BY job_id, not_before DESC
        ) AS last
        WHERE jobs.id = last.job_id AND status = 'PROCESSING'
    """)
    op.execute("DROP TABLE job_failures")
