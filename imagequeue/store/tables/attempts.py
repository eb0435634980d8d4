"""Upstream calls and the quotas that they spend. A token is an attempt row.

Source: docs/design/rate-limiting.md, "The rule".
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from imagequeue.domain.jobs import OPEN_ATTEMPTS, AttemptState
from imagequeue.store.tables.metadata import metadata, moment, one_of, primary_id, usd

_OPEN = ", ".join(f"'{state}'" for state in sorted(OPEN_ATTEMPTS))

quota_groups = Table(
    "quota_groups",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rpm", Integer, nullable=False),
    Column("window_seconds", Double, nullable=False),
    Column("guard_seconds", Double, nullable=False),
    Column("pace", Boolean, nullable=False, server_default="true"),
    Column("effective_rpm", Integer, nullable=False),  # less than rpm while the quota drifts
    Column("extra_guard_seconds", Double, nullable=False, server_default="0"),
    moment("drifted_at"),  # the last 429 below the quota that has not lowered effective_rpm yet
    moment("clean_since"),  # the last change of effective_rpm or extra_guard_seconds
    Column("drifts", BigInteger, nullable=False, server_default="0"),  # 429s below the quota, ever
    Column("throttled", BigInteger, nullable=False, server_default="0"),  # 429s, ever
    Column("throttled_in_a_row", Integer, nullable=False, server_default="0"),
    moment("throttled_at"),
    moment("blocked_until"),  # only ever moves later
    Column("out_of_quota", Boolean, nullable=False, server_default="false"),
    Column("reason", Text, nullable=True),  # of the last 429
    moment("last_slot_at"),
    moment("created_at", now=True),
    CheckConstraint("rpm > 0", name="rpm_positive"),
    CheckConstraint("effective_rpm BETWEEN 1 AND rpm", name="effective_rpm_range"),
)
"""One row per upstream quota. Its lock makes a grant atomic."""

deployment_states = Table(
    "deployment_states",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row
    Column("misconfigured", Boolean, nullable=False, server_default="false"),
    # Calls in a row, each request once: the account, if it matters, and a hash of the request.
    Column("failed", ARRAY(Text), nullable=False, server_default="{}"),
    Column("refused", ARRAY(Text), nullable=False, server_default="{}"),
    Column("reason", Text, nullable=True),  # of the last failure
    moment("opened_at"),  # when the breaker opened last
    Column("opened_by", Uuid, nullable=True),  # the account whose calls alone opened it
    moment("blocked_until"),  # no call before; then one, as a probe
    Column("probe_id", Uuid, nullable=True),  # the attempt that is the probe now
    moment("updated_at", now=True),
    CheckConstraint("failures >= 0", name="failures_not_negative"),
)
"""Deployments that have failed lately, and how long they get no calls. One without a row works."""

attempts = Table(
    "attempts",
    metadata,
    primary_id(),
    Column("job_id", Uuid, ForeignKey("jobs.id"), nullable=False),
    Column("deployment", Text, nullable=False),
    Column("quota_group", Text, ForeignKey("quota_groups.name"), nullable=False),
    Column("lane", Text, nullable=False),
    Column("image_count", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("process_id", Uuid, nullable=True),  # the caller; its row may be deleted sooner
    Column("process_died", Boolean, nullable=False, server_default="false"),  # during the call
    moment("slot_at", nullable=False),  # when the call may start
    moment("token_returns_at", nullable=False),  # when its token is free again
    moment("release_deadline", nullable=False),  # ring again if it has not started by then
    moment("call_deadline"),
    moment("called_at"),
    moment("sent_at"),
    moment("poll_after"),
    Column("polled_by", Uuid, nullable=True),  # the process that asks for the result now
    moment("poll_leased_until"),  # nobody else asks before
    Column("poll_failures", Integer, nullable=False, server_default="0"),  # in a row
    moment("finished_at"),
    Column("upstream_reference", Text, nullable=True),
    Column("http_status", SmallInteger, nullable=True),
    Column("reason", Text, nullable=True),
    usd("cost_usd", nullable=True),
    Column("duplicate_images", SmallInteger, nullable=False, server_default="0"),
    moment("created_at", now=True),
    one_of("state", AttemptState),
    CheckConstraint(f"(finished_at IS NULL) = (state IN ({_OPEN}))", name="finished_when_closed"),
    CheckConstraint("(state = 'CALLING') <= (process_id IS NOT NULL)", name="calling_by_somebody"),
    CheckConstraint("process_died <= (process_id IS NOT NULL)", name="died_as_somebody"),
    CheckConstraint("image_count BETWEEN 1 AND 10", name="image_count_range"),
    Index("ix_attempts_job_id_id", "job_id", "id"),
    Index("ix_attempts_tokens", "quota_group", "token_returns_at"),
    Index("ix_attempts_open", "state", "release_deadline", postgresql_where=text(f"state IN ({_OPEN})")),
    Index(
        "ix_attempts_polls_due",
        "lane",
        "deployment",
        "poll_after",
        postgresql_where=text("state = 'SLEEPING'"),
    ),
    Index(
        "ix_attempts_polls_leased",
        "lane",
        "deployment",
        "poll_leased_until",
        postgresql_where=text("state = 'SLEEPING' AND poll_leased_until IS NOT NULL"),
    ),
    postgresql_with={
        "fillfactor": "70",
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_cost_delay": "0",
    },
)
