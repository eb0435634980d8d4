"""Jobs and everything that hangs on one: the request, its images, its events, its final body."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from imagequeue.domain.batches import OnUnknown
from imagequeue.domain.jobs import FINAL, JobStatus, Lane
from imagequeue.store.tables.metadata import metadata, moment, one_of, primary_id, usd

_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL))

flows = Table(
    "flows",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("model_id", Text, nullable=False),
    Column("requirement", Text, nullable=False),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("lane", Text, nullable=False),
    Column("batch_id", Uuid, nullable=True),
    Column("open", Boolean, nullable=False, server_default=true()),  # False: no call of its jobs begins
    Column("weight", SmallInteger, nullable=False, server_default="1"),  # of its batch within the account
    one_of("lane", Lane),
    CheckConstraint("weight BETWEEN 1 AND 1000", name="weight_range"),
    CheckConstraint("batch_id IS NOT NULL OR (open AND weight = 1)", name="changed_by_batch_only"),
    UniqueConstraint("account_id", "model_id", "requirement", "lane", "batch_id"),
    # To that constraint two flows without a batch differ: Postgres takes NULLs for equal only from 15 on.
    Index(
        "uq_flows_without_batch",
        "account_id",
        "model_id",
        "requirement",
        "lane",
        unique=True,
        postgresql_where=text("batch_id IS NULL"),
    ),
    Index("ix_flows_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
)
"""Where jobs wait: same model, requirement, account, lane and batch (docs/design/pipeline.md, "Dispatch").

A batch opens and closes all of its flows, and gives them its weight, in one statement.
"""

jobs = Table(
    "jobs",
    metadata,
    primary_id(),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("flow_id", Integer, ForeignKey("flows.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("image_count", SmallInteger, nullable=False),
    Column("wanted", SmallInteger, nullable=False),  # images neither stored nor asked for by an open attempt
    Column("failures", SmallInteger, nullable=False, server_default="0"),  # complete rounds; failed fetches
    Column("deaths", SmallInteger, nullable=False, server_default="0"),  # processes that died in its calls
    usd("price_usd"),  # of the whole job
    moment("not_before"),  # of a QUEUED job whose inputs are unfetched: when its next fetch is due
    moment("start_by"),
    moment("finish_by"),
    moment("created_at", now=True),
    moment("updated_at", now=True),
    moment("finished_at"),
    moment("forgotten_at"),  # the retention time has passed: images, prompt, events and attempts are gone
    one_of("status", JobStatus),
    CheckConstraint(f"(finished_at IS NOT NULL) = (status IN ({_FINAL}))", name="finished_when_final"),
    CheckConstraint("image_count BETWEEN 1 AND 10", name="image_count_range"),
    CheckConstraint("wanted BETWEEN 0 AND image_count", name="wanted_range"),
    Index("ix_jobs_queued", "flow_id", "id", postgresql_where=text("status = 'QUEUED'")),
    Index(
        "ix_jobs_unfetched",
        "flow_id",
        "not_before",
        postgresql_where=text("status = 'QUEUED' AND not_before IS NOT NULL"),
    ),
    Index(
        "ix_jobs_wanting",
        "flow_id",
        "id",
        postgresql_where=text("status = 'PROCESSING' AND wanted > 0"),
    ),
    Index(
        "ix_jobs_deadlines",
        text("LEAST(start_by, finish_by)"),
        postgresql_where=text(
            "(start_by IS NOT NULL OR finish_by IS NOT NULL) AND status IN ('QUEUED', 'PROCESSING')"
        ),
    ),
    Index("ix_jobs_account_id_id", "account_id", "id"),
    Index(
        "ix_jobs_to_forget",
        "finished_at",
        postgresql_where=text("forgotten_at IS NULL AND finished_at IS NOT NULL"),
    ),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_cost_delay": "0",
    },
)
"""The queue of record: the narrow row that changes. `domain/jobs.py` says who changes `status`."""

job_failures = Table(
    "job_failures",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=False),
    Column("deployment", Text, nullable=False),
    Column("failures", SmallInteger, nullable=False, server_default="0"),  # those that count
    moment("failed_at"),  # when the last of them was counted: an attempt that was granted before adds none
    moment("not_before", nullable=False),  # the end of the back-off
    moment("created_at", now=True),
    PrimaryKeyConstraint("job_id", "deployment"),
    CheckConstraint("failures >= 0", name="failures_not_negative"),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_cost_delay": "0",
    },
)
"""Every deployment that failed a live job; deleted when the job is final."""

job_requests = Table(
    "job_requests",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id"), primary_key=True),
    Column("prompt", Text, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("webhook_url", Text, nullable=True),
    Column("client_headers", JSONB, nullable=False, server_default="{}"),
    Column("on_unknown", Text, nullable=False, server_default="retry"),
    Column("notes", Text, nullable=True),  # the dialect's own, as JSON; text, because jsonb takes no NUL
    one_of("on_unknown", OnUnknown),
    Index(
        "ix_job_requests_input_images",
        text("(parameters -> 'input_images')"),
        postgresql_using="gin",
        postgresql_where=text("parameters -> 'input_images' <> '[]'::jsonb"),
    ),
    Index(
        "ix_job_requests_mask",
        text("(parameters ->> 'mask')"),
        postgresql_where=text("parameters ->> 'mask' IS NOT NULL"),
    ),
)
"""What was asked; never changes, and is emptied when the job is forgotten."""

input_images = Table(
    "input_images",
    metadata,
    Column("storage_key", Text, primary_key=True),
    moment("kept_until", nullable=False),
    Index("ix_input_images_kept_until", "kept_until"),
)
"""Every stored input image that several jobs may name; none is deleted before `kept_until`."""

job_results = Table(
    "job_results",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id"), primary_key=True),
    Column("error", Text, nullable=True),
    Column("body", Text, nullable=False),
)
"""The final status body, byte for byte what polls and the webhook get; written once, by settling."""

images = Table(
    "images",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("attempt_id", Uuid, nullable=False),
    Column("storage_key", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    moment("created_at", now=True),
    Column("sha256", LargeBinary, nullable=True),  # none: stored before digests were kept
    PrimaryKeyConstraint("job_id", "ordinal"),  # the first image wins, a late duplicate is refused
    CheckConstraint("ordinal >= 1", name="ordinal_from_one"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=False),
    Column("status", Text, nullable=False),
    moment("created_at", now=True),
    one_of("status", JobStatus),
    UniqueConstraint("job_id", "status"),  # each status is entered once
)
"""Append-only: every status that a job entered, in order."""

event_totals = Table(
    "event_totals",
    metadata,
    Column("status", Text, primary_key=True),
    Column("entered", BigInteger, nullable=False, server_default="0"),
    Column("counted_until", BigInteger, nullable=False, server_default="0"),  # the last event in `entered`
    one_of("status", JobStatus),
    CheckConstraint("entered >= 0", name="entered_not_negative"),
)
"""How many jobs entered each status, a row for each: events are deleted, these rows are not."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    # Deferred: the key is claimed before the job is inserted, so that equal submits wait for the claim.
    Column("job_id", Uuid, ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"), nullable=False),
    moment("created_at", now=True),
    PrimaryKeyConstraint("account_id", "key"),
    CheckConstraint("length(key) BETWEEN 1 AND 255", name="key_length"),
    Index("ix_idempotency_keys_created_at", "created_at"),
)
"""Accepted submits by their `Idempotency-Key` (docs/design/pipeline.md, "Idempotency")."""

recent_submits = Table(
    "recent_submits",
    metadata,
    Column("api_key_id", Uuid, ForeignKey("api_keys.id"), nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("job_id", Uuid, ForeignKey("jobs.id", deferrable=True, initially="DEFERRED"), nullable=False),
    Column("retry_count", SmallInteger, nullable=False),
    moment("created_at", now=True),
    PrimaryKeyConstraint("api_key_id", "fingerprint"),
    Index("ix_recent_submits_created_at", "created_at"),
)
"""The last accepted submit of a body without a key, for clients that count their retries instead."""
