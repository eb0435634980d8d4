"""Files, batches of lines, and their counters (docs/design/backfills.md, "Rows")."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from imagequeue.domain.batches import (
    ENDED_BATCHES,
    OPEN_LINES,
    BatchState,
    Dedupe,
    LineState,
    OnUnknown,
    PartState,
    PauseReason,
)
from imagequeue.store.tables.metadata import USD, metadata, moment, one_of, primary_id, usd


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


_OPEN_LINES = _listed(OPEN_LINES)

files = Table(
    "files",
    metadata,
    primary_id(),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("storage_key", Text, nullable=False, unique=True),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("sha256", LargeBinary, nullable=True),  # none while it is being uploaded
    Column("batch_id", Uuid, nullable=True),  # of an output or error file: the batch that it is of
    moment("created_at", now=True),
    moment("leased_until"),  # of an upload: nothing came for a while when this is over
    moment("stored_at"),  # none while it is being uploaded
    moment("expires_at"),
    moment("deleted_at"),  # hidden; its bytes go when no unfinished batch names it
    moment("removed_at"),  # its bytes are gone
    CheckConstraint("(stored_at IS NULL) = (sha256 IS NULL)", name="digest_when_stored"),
    CheckConstraint("(stored_at IS NULL) = (leased_until IS NOT NULL)", name="leased_while_uploaded"),
    CheckConstraint("length(sha256) = 32", name="sha256_length"),
    CheckConstraint("size_bytes >= 0", name="size_not_negative"),
    Index("ix_files_account_id_id", "account_id", "id", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_files_uploads", "account_id", "leased_until", postgresql_where=text("stored_at IS NULL")),
    Index(
        "ix_files_over",
        text("LEAST(deleted_at, expires_at, leased_until)"),
        postgresql_where=text(
            "removed_at IS NULL AND LEAST(deleted_at, expires_at, leased_until) IS NOT NULL"
        ),
    ),
    Index("ix_files_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
)
"""Files of clients and of batches, whose bytes are in the storage. The row is there before the first byte."""

batches = Table(
    "batches",
    metadata,
    primary_id(),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("api_key_id", Uuid, ForeignKey("api_keys.id"), nullable=False),
    Column("state", Text, nullable=False, server_default=BatchState.VALIDATING.value),
    Column("reasons", ARRAY(Text), nullable=False, server_default="{}"),  # why it is paused
    Column("endpoint", Text, nullable=True),  # the url of every line; none: each line's own
    Column("input_file_id", Uuid, ForeignKey("files.id"), nullable=False),
    Column("output_file_id", Uuid, ForeignKey("files.id"), nullable=True),
    Column("error_file_id", Uuid, ForeignKey("files.id"), nullable=True),
    Column("idempotency_key", Text, nullable=True),
    Column("fingerprint", LargeBinary, nullable=False),  # sha256 of the file's digest and the parameters
    Column("request_digest", LargeBinary, nullable=False),  # sha256 of the body that created it
    Column("dry_run", Boolean, nullable=False, server_default=false()),  # its file is only checked
    Column("dedupe", Text, nullable=False, server_default=Dedupe.OFF.value),
    Column("weight", SmallInteger, nullable=False, server_default="1"),
    usd("budget_usd", nullable=True),
    Column("keep_available_usd", USD, nullable=False, server_default="0"),
    Column("max_failure_rate", Double, nullable=False, server_default="0.5"),
    Column("on_unknown", Text, nullable=False, server_default=OnUnknown.RETRY.value),
    Column("line_limit", Integer, nullable=True),  # pause after that many lines
    Column("last_number", Integer, nullable=False, server_default="0"),  # lines up to it may run
    Column("retry_to", Integer, nullable=True),  # lines that finished up to it are to wait again
    Column("retry_codes", ARRAY(Text), nullable=True),  # those with such an error; none: all that failed
    Column("give_up_to", Integer, nullable=True),  # unknown lines that finished up to it are to be failed
    Column("brake_from", Integer, nullable=False, server_default="0"),  # the brake counts later ones
    Column("webhook_url", Text, nullable=True),
    Column("line_webhooks", Boolean, nullable=False, server_default=false()),
    Column("client_headers", JSONB, nullable=False, server_default="{}"),
    Column("metadata", JSONB, nullable=True),
    Column("completion_window", Text, nullable=False, server_default="24h"),
    Column("output_expires_after_seconds", Integer, nullable=True),
    moment("start_by"),  # no line starts later
    moment("expires_at"),
    Column("expiring", Boolean, nullable=False, server_default=false()),  # FINALIZING leads to EXPIRED
    moment("created_at", now=True),
    moment("in_progress_at"),
    moment("finalizing_at"),
    moment("completed_at"),
    moment("failed_at"),
    moment("expired_at"),
    moment("cancelling_at"),
    moment("cancelled_at"),
    moment("ended_at"),  # the retention counts from here
    moment("forgotten_at"),  # its lines and files are gone
    one_of("state", BatchState),
    one_of("dedupe", Dedupe),
    one_of("on_unknown", OnUnknown),
    CheckConstraint(f"reasons <@ ARRAY[{_listed(PauseReason)}]", name="reasons_known"),
    CheckConstraint("(state = 'paused') <= (cardinality(reasons) > 0)", name="paused_for_a_reason"),
    CheckConstraint(
        f"(ended_at IS NOT NULL) = (state IN ({_listed(ENDED_BATCHES)}))", name="ended_when_final"
    ),
    CheckConstraint("weight BETWEEN 1 AND 1000", name="weight_range"),
    CheckConstraint("budget_usd >= 0", name="budget_not_negative"),
    CheckConstraint("keep_available_usd >= 0", name="keep_available_not_negative"),
    CheckConstraint("max_failure_rate BETWEEN 0 AND 1", name="max_failure_rate_range"),
    CheckConstraint("line_limit > 0", name="line_limit_positive"),
    CheckConstraint("retry_codes IS NULL OR retry_to IS NOT NULL", name="retry_codes_of_a_retry"),
    CheckConstraint("length(idempotency_key) BETWEEN 1 AND 255", name="key_length"),
    UniqueConstraint("account_id", "idempotency_key"),
    Index("ix_batches_account_id_id", "account_id", "id"),
    Index("ix_batches_fingerprint", "account_id", "fingerprint", "id"),
    Index("ix_batches_request_digest", "api_key_id", "request_digest", "created_at"),
    Index("ix_batches_input_file_id", "input_file_id"),
    Index(
        "ix_batches_unfinished",
        "state",
        "id",
        postgresql_where=text(f"state NOT IN ({_listed(ENDED_BATCHES)})"),
    ),
    Index(
        "ix_batches_expires_at",
        "expires_at",
        postgresql_where=text(f"expires_at IS NOT NULL AND state NOT IN ({_listed(ENDED_BATCHES)})"),
    ),
    Index(
        "ix_batches_to_forget",
        "ended_at",
        postgresql_where=text("ended_at IS NOT NULL AND forgotten_at IS NULL"),
    ),
)
"""One row for each batch; what counts its lines is in `batch_counters`, what changes with a line, too."""

batch_parts = Table(
    "batch_parts",
    metadata,
    Column("batch_id", Uuid, ForeignKey("batches.id"), nullable=False),
    Column("part", SmallInteger, nullable=False),  # 1: the batch's file; more were appended
    Column("file_id", Uuid, ForeignKey("files.id"), nullable=False),
    Column("state", Text, nullable=False, server_default=PartState.VALIDATING.value),
    Column("first_number", Integer, nullable=False),  # of the batch: that of the part's first line
    Column("byte_reached", BigInteger, nullable=False, server_default="0"),
    Column("line_reached", Integer, nullable=False, server_default="0"),  # of the file, empty ones counted
    Column("line_count", Integer, nullable=False, server_default="0"),  # without empty ones
    Column("skipped_count", Integer, nullable=False, server_default="0"),
    Column("image_count", BigInteger, nullable=False, server_default="0"),
    usd("price_usd", nullable=True),  # of its lines at the prices of their validation
    Column("errors", JSONB, nullable=False, server_default="[]"),  # {code, line, message, param}
    Column("demand", JSONB, nullable=False, server_default="[]"),  # of a dry run: [model, requirement, lines]
    moment("created_at", now=True),
    moment("leased_until"),  # a process validates it, or deletes its lines, until then
    moment("finished_at"),
    one_of("state", PartState),
    PrimaryKeyConstraint("batch_id", "part"),
    CheckConstraint("part >= 1", name="part_from_one"),
    CheckConstraint("(finished_at IS NULL) = (state = 'validating')", name="finished_when_known"),
    Index("ix_batch_parts_file_id", "file_id"),
    Index(
        "ix_batch_parts_unfinished",
        text("coalesce(leased_until, created_at)"),
        postgresql_where=text("state = 'validating' OR leased_until IS NOT NULL"),
    ),
    postgresql_with={"fillfactor": "50"},
)
"""How far the validation of a file has come; one commit for each chunk of lines writes it with them."""

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("flow_id", Integer, nullable=True),  # none: skipped
    Column("job_id", Uuid, nullable=True),
    Column("earlier_job_id", Uuid, nullable=True),  # of a skipped line: the job that has brought the same
    Column("finished", Integer, nullable=True),  # numbers follow the order of commits, without gaps
    Column("byte_offset", BigInteger, nullable=False),  # of its text in the part's file
    Column("byte_count", Integer, nullable=False),
    Column("part", SmallInteger, nullable=False, server_default="1"),
    Column("retries", SmallInteger, nullable=False, server_default="0"),
    Column("custom_id", Text, nullable=False),
    Column("body_digest", LargeBinary, nullable=True),  # 16 bytes: url and body, where dedupe asks
    Column("error_code", Text, nullable=True),
    Column("error_message", Text, nullable=True),
    one_of("state", LineState),
    PrimaryKeyConstraint("batch_id", "number"),
    UniqueConstraint("batch_id", "custom_id"),
    CheckConstraint(f"(finished IS NULL) = (state IN ({_OPEN_LINES}))", name="finished_when_closed"),
    CheckConstraint("(state = 'waiting') <= (job_id IS NULL)", name="waiting_without_job"),
    CheckConstraint("(state = 'queued') <= (job_id IS NOT NULL)", name="queued_with_job"),
    CheckConstraint("(state = 'skipped') = (earlier_job_id IS NOT NULL)", name="skipped_for_another"),
    CheckConstraint("length(custom_id) BETWEEN 1 AND 512", name="custom_id_length"),
    Index("ix_batch_lines_waiting", "flow_id", "number", postgresql_where=text("state = 'waiting'")),
    Index("uq_batch_lines_job_id", "job_id", unique=True, postgresql_where=text("job_id IS NOT NULL")),
    Index(
        "uq_batch_lines_finished",
        "batch_id",
        "finished",
        unique=True,
        postgresql_where=text("finished IS NOT NULL"),
    ),
    Index(
        "ix_batch_lines_errors",
        "batch_id",
        "error_code",
        "number",
        postgresql_where=text("error_code IS NOT NULL"),
    ),
    postgresql_with={
        "fillfactor": "80",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_cost_delay": "0",
    },
)
"""One narrow row for each line; its text stays in the file.

No foreign keys: each would be looked up for each of a million lines, and nothing deletes a batch or a flow.
"""

batch_counters = Table(
    "batch_counters",
    metadata,
    Column("batch_id", Uuid, ForeignKey("batches.id"), primary_key=True),
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("total", *LineState, "finished")
    ),
    Column("images", BigInteger, nullable=False, server_default="0"),  # of lines that are completed
    Column("held_usd", USD, nullable=False, server_default="0"),
    Column("spent_usd", USD, nullable=False, server_default="0"),
    CheckConstraint(f"total = {' + '.join(LineState)}", name="total_is_the_sum"),
    CheckConstraint(f"LEAST({', '.join(LineState)}, held_usd, spent_usd, images) >= 0", name="not_negative"),
    postgresql_with={"fillfactor": "50"},
)
"""The counts of a batch's lines by state, its money, and the number of the line that finished last."""

batch_inputs = Table(
    "batch_inputs",
    metadata,
    Column("batch_id", Uuid, ForeignKey("batches.id"), nullable=False),
    Column("url_digest", LargeBinary, nullable=False),  # sha256: a URL may be longer than an index takes
    Column("is_mask", Boolean, nullable=False),  # masks are checked otherwise
    Column("url", Text, nullable=False),
    Column("since", Integer, nullable=False),  # the batch's `brake_from`: a retry asks for the URL again
    Column("tries", SmallInteger, nullable=False, server_default="0"),
    Column("due_at", DateTime(timezone=True), nullable=True, server_default=func.clock_timestamp()),
    Column("storage_key", Text, nullable=True),
    Column("refusal", Text, nullable=True),
    PrimaryKeyConstraint("batch_id", "url_digest", "is_mask"),
    CheckConstraint("num_nonnulls(due_at, storage_key, refusal) = 1", name="due_until_known"),
    Index("ix_batch_inputs_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("ix_batch_inputs_storage_key", "storage_key", postgresql_where=text("storage_key IS NOT NULL")),
)
"""Input images that lines name by URL: fetched once for a batch, and kept until the batch has ended."""
