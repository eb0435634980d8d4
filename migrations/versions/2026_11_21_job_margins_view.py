"""job_margins: what each job brought, and what its upstream calls cost.

Every call counts, also one whose images came too late to be needed. `unknown_calls` are those that may have
been billed or not; they are not in `cost_usd`.
"""

from __future__ import annotations

from alembic import op

revision = "2026_11_21_job_margins_view"
down_revision: str | None = "2026_11_21_initial"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        CREATE VIEW job_margins AS
        SELECT jobs.id AS job_id, jobs.account_id, flows.model_id, jobs.status, jobs.created_at,
            jobs.finished_at,
            coalesce(capture.captured, 0) AS charged_usd,
            calls.cost_usd,
            coalesce(capture.captured, 0) - calls.cost_usd AS margin_usd,
            calls.duplicate_images,
            calls.unknown_calls
        FROM jobs
        JOIN flows ON flows.id = jobs.flow_id
        LEFT JOIN ledger_entries AS hold ON hold.job_id = jobs.id AND hold.kind = 'HOLD'
        LEFT JOIN ledger_entries AS capture ON capture.hold_id = hold.id AND capture.kind = 'CAPTURE'
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(attempts.cost_usd), 0) AS cost_usd,
                coalesce(sum(attempts.duplicate_images), 0)::int AS duplicate_images,
                count(*) FILTER (WHERE attempts.state IN ('UNKNOWN', 'LOST'))::int AS unknown_calls
            FROM attempts WHERE attempts.job_id = jobs.id
        ) AS calls
    """)


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP VIEW job_margins")
