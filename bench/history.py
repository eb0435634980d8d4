"""A day of old jobs, as they are a month after they ended, written by SQL: a million in a minute or two."""

from __future__ import annotations

import json
from uuid import UUID

from bench.stack import Stack
from imagequeue.domain.images import ImageRequest

TABLES = (
    "jobs",
    "job_requests",
    "job_results",
    "ledger_entries",
    "events",
    "attempts",
    "images",
    "deliveries",
    "delivery_attempts",
)
"""Those that have rows of each job."""

_PROMPT = "A lighthouse on a cliff at dusk, painted in oil, with a storm far out at sea and one lit window. "
"""Twice: about 200 characters."""
_BODY_CHARACTERS = 700
"""Of a final status body with one image, as Pixazo's dialect has it."""

# Ids grow with time, as UUIDv7 do: the job's, and with the first digit changed those of its other rows.
_LOAD = (
    """
    CREATE UNLOGGED TABLE old AS
    SELECT number, moment, lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0')
        || '70008' || lpad(to_hex(number), 15, '0') AS id
    FROM (
        SELECT number, now() - interval '32 days' + number * interval '1 day' / :jobs AS moment
        FROM generate_series(1, :jobs) AS number
    ) AS numbered
    """,
    """
    INSERT INTO jobs (id, account_id, flow_id, status, image_count, wanted, price_usd,
        created_at, updated_at, finished_at)
    SELECT id::uuid, :account_id, (SELECT max(id) FROM flows), 'COMPLETED', 1, 0, 0.039,
        moment, moment, moment
    FROM old
    """,
    """
    INSERT INTO job_requests (job_id, prompt, parameters, dialect, webhook_url)
    SELECT id::uuid, repeat(:prompt, 2), CAST(:parameters AS jsonb), 'pixazo', 'https://example.com/hooks/images'
    FROM old
    """,
    "INSERT INTO job_results (job_id, body) SELECT id::uuid, repeat('x', :characters) FROM old",
    """
    INSERT INTO events (job_id, status, created_at)
    SELECT id::uuid, status, moment FROM old, unnest(ARRAY['QUEUED', 'PROCESSING', 'COMPLETED']) AS status
    """,
    "UPDATE event_totals SET counted_until = (SELECT max(id) FROM events)",
    """
    INSERT INTO attempts (id, job_id, deployment, quota_group, lane, image_count, state, process_id,
        slot_at, token_returns_at, release_deadline, called_at, sent_at, finished_at, created_at,
        http_status, cost_usd)
    SELECT ('1' || substr(id, 2))::uuid, id::uuid, 'east', (SELECT min(name) FROM quota_groups),
        'interactive', 1, 'SUCCEEDED', gen_random_uuid(),
        moment, moment, moment, moment, moment, moment, moment, 200, 0.02
    FROM old
    """,
    """
    INSERT INTO images (job_id, ordinal, attempt_id, storage_key, media_type, width, height, size_bytes)
    SELECT id::uuid, 1, ('1' || substr(id, 2))::uuid, 'outputs/' || id || '/' || id || '-1.png', 'image/png',
        1024, 1024, 1500000
    FROM old
    """,
    """
    INSERT INTO ledger_entries (id, account_id, kind, amount, job_id, created_at)
    SELECT ('1' || substr(id, 2))::uuid, :account_id, 'HOLD', -0.039, id::uuid, moment FROM old
    """,
    """
    INSERT INTO ledger_entries (id, account_id, kind, amount, captured, job_id, hold_id, created_at)
    SELECT ('2' || substr(id, 2))::uuid, :account_id, 'CAPTURE', 0, 0.039, id::uuid,
        ('1' || substr(id, 2))::uuid, moment
    FROM old
    """,
    """
    INSERT INTO deliveries (id, account_id, job_id, webhook_id, url, target, body, state, attempt_count,
        created_at, finished_at)
    SELECT ('1' || substr(id, 2))::uuid, :account_id, id::uuid, 'msg_' || id, 'https://example.com/hooks/images',
        'https://example.com:443', repeat('x', :characters), 'DELIVERED', 1, moment, moment
    FROM old
    """,
    """
    INSERT INTO delivery_attempts (id, delivery_id, number, latency_ms, http_status, outcome)
    SELECT ('2' || substr(id, 2))::uuid, ('1' || substr(id, 2))::uuid, 1, 80, 200, 'DELIVERED' FROM old
    """,
    "DROP TABLE old",
)


def load(stack: Stack, jobs: int, account_id: UUID, model_id: str) -> None:
    """Write jobs of an account that were completed 31 to 32 days ago, each with an image and a webhook."""
    parameters = ImageRequest(model_id=model_id, prompt="").parameters()
    stack.execute(
        _LOAD,
        jobs=jobs,
        account_id=account_id,
        prompt=_PROMPT,
        parameters=json.dumps(parameters),
        characters=_BODY_CHARACTERS,
    )


def bytes_of_a_job(stack: Stack, jobs: int) -> dict[str, tuple[float, float]]:
    """By table, what its rows of one job take: the rows, and their entries in all indexes."""
    sizes = "SELECT pg_table_size(:table), pg_indexes_size(:table)"
    return {
        table: (rows / jobs, indexes / jobs)
        for table in TABLES
        for rows, indexes in stack.rows(sizes, table=table)
    }
