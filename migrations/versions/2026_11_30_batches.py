"""files, batches, batch_parts, batch_lines and batch_counters."""

from __future__ import annotations

from alembic import op

revision = "2026_11_30_batches"
down_revision: str | None = "2026_11_30_batch_deliveries"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        CREATE TABLE files (
            id UUID NOT NULL,
            account_id UUID NOT NULL,
            purpose TEXT NOT NULL,
            filename TEXT NOT NULL,
            storage_key TEXT NOT NULL,
            size_bytes BIGINT DEFAULT '0' NOT NULL,
            sha256 BYTEA,
            batch_id UUID,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            leased_until TIMESTAMP WITH TIME ZONE,
            stored_at TIMESTAMP WITH TIME ZONE,
            expires_at TIMESTAMP WITH TIME ZONE,
            deleted_at TIMESTAMP WITH TIME ZONE,
            removed_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_files PRIMARY KEY (id),
            CONSTRAINT ck_files_digest_when_stored CHECK ((stored_at IS NULL) = (sha256 IS NULL)),
            CONSTRAINT ck_files_leased_while_uploaded CHECK ((stored_at IS NULL) = (leased_until IS NOT NULL)),
            CONSTRAINT ck_files_sha256_length CHECK (length(sha256) = 32),
            CONSTRAINT ck_files_size_not_negative CHECK (size_bytes >= 0),
            CONSTRAINT fk_files_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
            CONSTRAINT uq_files_storage_key UNIQUE (storage_key)
        )
    """)
    op.execute("""
        CREATE INDEX ix_files_account_id_id ON files (account_id, id) WHERE deleted_at IS NULL
    """)
    op.execute("""
        CREATE INDEX ix_files_batch_id ON files (batch_id) WHERE batch_id IS NOT NULL
    """)
    op.execute("""
        CREATE INDEX ix_files_over ON files (LEAST(deleted_at, expires_at, leased_until)) WHERE removed_at IS
            NULL AND LEAST(deleted_at, expires_at, leased_until) IS NOT NULL
    """)
    op.execute("""
        CREATE INDEX ix_files_uploads ON files (account_id, leased_until) WHERE stored_at IS NULL
    """)
    op.execute("""
        CREATE TABLE batches (
            id UUID NOT NULL,
            account_id UUID NOT NULL,
            api_key_id UUID NOT NULL,
            state TEXT DEFAULT 'validating' NOT NULL,
            reasons TEXT[] DEFAULT '{}' NOT NULL,
            endpoint TEXT,
            input_file_id UUID NOT NULL,
            output_file_id UUID,
            error_file_id UUID,
            idempotency_key TEXT,
            fingerprint BYTEA NOT NULL,
            request_digest BYTEA NOT NULL,
            dedupe TEXT DEFAULT 'off' NOT NULL,
            weight SMALLINT DEFAULT '1' NOT NULL,
            budget_usd NUMERIC(18, 9),
            keep_available_usd NUMERIC(18, 9) DEFAULT '0' NOT NULL,
            max_failure_rate DOUBLE PRECISION DEFAULT '0.5' NOT NULL,
            on_unknown TEXT DEFAULT 'retry' NOT NULL,
            line_limit INTEGER,
            last_number INTEGER DEFAULT '0' NOT NULL,
            brake_from INTEGER DEFAULT '0' NOT NULL,
            webhook_url TEXT,
            line_webhooks BOOLEAN DEFAULT false NOT NULL,
            client_headers JSONB DEFAULT '{}' NOT NULL,
            metadata JSONB,
            completion_window TEXT DEFAULT '24h' NOT NULL,
            output_expires_after_seconds INTEGER,
            start_by TIMESTAMP WITH TIME ZONE,
            expires_at TIMESTAMP WITH TIME ZONE,
            expiring BOOLEAN DEFAULT false NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            in_progress_at TIMESTAMP WITH TIME ZONE,
            finalizing_at TIMESTAMP WITH TIME ZONE,
            completed_at TIMESTAMP WITH TIME ZONE,
            failed_at TIMESTAMP WITH TIME ZONE,
            expired_at TIMESTAMP WITH TIME ZONE,
            cancelling_at TIMESTAMP WITH TIME ZONE,
            cancelled_at TIMESTAMP WITH TIME ZONE,
            ended_at TIMESTAMP WITH TIME ZONE,
            forgotten_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_batches PRIMARY KEY (id),
            CONSTRAINT ck_batches_state_known CHECK (state IN ('validating', 'failed', 'in_progress', 'paused',
                'finalizing', 'completed', 'cancelling', 'cancelled', 'expired')),
            CONSTRAINT ck_batches_dedupe_known CHECK (dedupe IN ('off', 'file', 'custom_id')),
            CONSTRAINT ck_batches_on_unknown_known CHECK (on_unknown IN ('retry', 'fail', 'hold')),
            CONSTRAINT ck_batches_reasons_known CHECK (reasons <@ ARRAY['budget', 'failure_rate',
                'no_deployment', 'operator', 'unknown_outcomes', 'wallet']),
            CONSTRAINT ck_batches_paused_for_a_reason CHECK ((state = 'paused') <= (cardinality(reasons) > 0)),
            CONSTRAINT ck_batches_ended_when_final CHECK ((ended_at IS NOT NULL) = (state IN ('cancelled',
                'completed', 'expired', 'failed'))),
            CONSTRAINT ck_batches_weight_range CHECK (weight BETWEEN 1 AND 1000),
            CONSTRAINT ck_batches_budget_not_negative CHECK (budget_usd >= 0),
            CONSTRAINT ck_batches_keep_available_not_negative CHECK (keep_available_usd >= 0),
            CONSTRAINT ck_batches_max_failure_rate_range CHECK (max_failure_rate BETWEEN 0 AND 1),
            CONSTRAINT ck_batches_line_limit_positive CHECK (line_limit > 0),
            CONSTRAINT ck_batches_key_length CHECK (length(idempotency_key) BETWEEN 1 AND 255),
            CONSTRAINT uq_batches_account_id_idempotency_key UNIQUE (account_id, idempotency_key),
            CONSTRAINT fk_batches_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
            CONSTRAINT fk_batches_api_key_id FOREIGN KEY(api_key_id) REFERENCES api_keys (id),
            CONSTRAINT fk_batches_input_file_id FOREIGN KEY(input_file_id) REFERENCES files (id),
            CONSTRAINT fk_batches_output_file_id FOREIGN KEY(output_file_id) REFERENCES files (id),
            CONSTRAINT fk_batches_error_file_id FOREIGN KEY(error_file_id) REFERENCES files (id)
        )
    """)
    op.execute("""
        CREATE INDEX ix_batches_account_id_id ON batches (account_id, id)
    """)
    op.execute("""
        CREATE INDEX ix_batches_expires_at ON batches (expires_at) WHERE expires_at IS NOT NULL AND state NOT IN
            ('cancelled', 'completed', 'expired', 'failed')
    """)
    op.execute("""
        CREATE INDEX ix_batches_fingerprint ON batches (account_id, fingerprint, id)
    """)
    op.execute("""
        CREATE INDEX ix_batches_input_file_id ON batches (input_file_id)
    """)
    op.execute("""
        CREATE INDEX ix_batches_request_digest ON batches (api_key_id, request_digest, created_at)
    """)
    op.execute("""
        CREATE INDEX ix_batches_to_forget ON batches (ended_at) WHERE ended_at IS NOT NULL AND forgotten_at IS
            NULL
    """)
    op.execute("""
        CREATE INDEX ix_batches_unfinished ON batches (state, id) WHERE state NOT IN ('cancelled', 'completed',
            'expired', 'failed')
    """)
    op.execute("""
        CREATE TABLE batch_parts (
            batch_id UUID NOT NULL,
            part SMALLINT NOT NULL,
            file_id UUID NOT NULL,
            state TEXT DEFAULT 'validating' NOT NULL,
            first_number INTEGER NOT NULL,
            byte_reached BIGINT DEFAULT '0' NOT NULL,
            line_reached INTEGER DEFAULT '0' NOT NULL,
            line_count INTEGER DEFAULT '0' NOT NULL,
            skipped_count INTEGER DEFAULT '0' NOT NULL,
            image_count BIGINT DEFAULT '0' NOT NULL,
            price_usd NUMERIC(18, 9),
            errors JSONB DEFAULT '[]' NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            leased_until TIMESTAMP WITH TIME ZONE,
            finished_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_batch_parts PRIMARY KEY (batch_id, part),
            CONSTRAINT ck_batch_parts_state_known CHECK (state IN ('validating', 'valid', 'failed')),
            CONSTRAINT ck_batch_parts_part_from_one CHECK (part >= 1),
            CONSTRAINT ck_batch_parts_finished_when_known CHECK ((finished_at IS NULL) = (state = 'validating')),
            CONSTRAINT fk_batch_parts_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id),
            CONSTRAINT fk_batch_parts_file_id FOREIGN KEY(file_id) REFERENCES files (id)
        )
         WITH (fillfactor = 50)
    """)
    op.execute("""
        CREATE INDEX ix_batch_parts_file_id ON batch_parts (file_id)
    """)
    op.execute("""
        CREATE INDEX ix_batch_parts_unfinished ON batch_parts (coalesce(leased_until, created_at)) WHERE state =
            'validating' OR leased_until IS NOT NULL
    """)
    op.execute("""
        CREATE TABLE batch_lines (
            batch_id UUID NOT NULL,
            number INTEGER NOT NULL,
            state TEXT NOT NULL,
            flow_id INTEGER,
            job_id UUID,
            earlier_job_id UUID,
            finished INTEGER,
            byte_offset BIGINT NOT NULL,
            byte_count INTEGER NOT NULL,
            part SMALLINT DEFAULT '1' NOT NULL,
            retries SMALLINT DEFAULT '0' NOT NULL,
            custom_id TEXT NOT NULL,
            body_digest BYTEA,
            error_code TEXT,
            error_message TEXT,
            CONSTRAINT pk_batch_lines PRIMARY KEY (batch_id, number),
            CONSTRAINT ck_batch_lines_state_known CHECK (state IN ('waiting', 'queued', 'completed', 'failed',
                'unknown', 'cancelled', 'expired', 'skipped')),
            CONSTRAINT uq_batch_lines_batch_id_custom_id UNIQUE (batch_id, custom_id),
            CONSTRAINT ck_batch_lines_finished_when_closed CHECK ((finished IS NULL) = (state IN ('queued',
                'waiting'))),
            CONSTRAINT ck_batch_lines_waiting_without_job CHECK ((state = 'waiting') <= (job_id IS NULL)),
            CONSTRAINT ck_batch_lines_queued_with_job CHECK ((state = 'queued') <= (job_id IS NOT NULL)),
            CONSTRAINT ck_batch_lines_skipped_for_another CHECK ((state = 'skipped') = (earlier_job_id IS NOT
                NULL)),
            CONSTRAINT ck_batch_lines_custom_id_length CHECK (length(custom_id) BETWEEN 1 AND 512)
        )
         WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)
    """)
    op.execute("""
        CREATE INDEX ix_batch_lines_errors ON batch_lines (batch_id, error_code, number) WHERE error_code IS NOT
            NULL
    """)
    op.execute("""
        CREATE INDEX ix_batch_lines_waiting ON batch_lines (flow_id, number) WHERE state = 'waiting'
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_batch_lines_finished ON batch_lines (batch_id, finished) WHERE finished IS NOT NULL
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_batch_lines_job_id ON batch_lines (job_id) WHERE job_id IS NOT NULL
    """)
    op.execute("""
        CREATE TABLE batch_counters (
            batch_id UUID NOT NULL,
            total INTEGER DEFAULT '0' NOT NULL,
            waiting INTEGER DEFAULT '0' NOT NULL,
            queued INTEGER DEFAULT '0' NOT NULL,
            completed INTEGER DEFAULT '0' NOT NULL,
            failed INTEGER DEFAULT '0' NOT NULL,
            unknown INTEGER DEFAULT '0' NOT NULL,
            cancelled INTEGER DEFAULT '0' NOT NULL,
            expired INTEGER DEFAULT '0' NOT NULL,
            skipped INTEGER DEFAULT '0' NOT NULL,
            finished INTEGER DEFAULT '0' NOT NULL,
            images BIGINT DEFAULT '0' NOT NULL,
            held_usd NUMERIC(18, 9) DEFAULT '0' NOT NULL,
            spent_usd NUMERIC(18, 9) DEFAULT '0' NOT NULL,
            CONSTRAINT pk_batch_counters PRIMARY KEY (batch_id),
            CONSTRAINT ck_batch_counters_total_is_the_sum CHECK (total = waiting + queued + completed + failed +
                unknown + cancelled + expired + skipped),
            CONSTRAINT ck_batch_counters_not_negative CHECK (LEAST(waiting, queued, completed, failed, unknown,
                cancelled, expired, skipped, held_usd, spent_usd, images) >= 0),
            CONSTRAINT fk_batch_counters_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id)
        )
         WITH (fillfactor = 50)
    """)


def downgrade() -> None:
    """Undo."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("batch_counters", "batch_lines", "batch_parts", "batches", "files"):
        op.drop_table(table)
