"""The tables, one file per family of nouns (docs/design/pipeline.md, "Tables").

States are text with a CHECK, keys are UUIDv7, times are `timestamptz` on the database's clock. Rows that
change are narrow, rows that are wide never change. What must never happen is a constraint here.
"""

from imagequeue.store.tables.accounts import accounts, api_keys, ledger_entries, wallets
from imagequeue.store.tables.attempts import attempts, deployment_states, quota_groups
from imagequeue.store.tables.batches import (
    batch_counters,
    batch_inputs,
    batch_lines,
    batch_parts,
    batches,
    files,
)
from imagequeue.store.tables.deliveries import (
    deliveries,
    delivery_attempts,
    webhook_endpoints,
    webhook_recoveries,
    webhook_targets,
)
from imagequeue.store.tables.jobs import (
    event_totals,
    events,
    flows,
    idempotency_keys,
    images,
    input_images,
    job_requests,
    job_results,
    jobs,
    recent_submits,
)
from imagequeue.store.tables.metadata import metadata
from imagequeue.store.tables.processes import processes

__all__ = [
    "accounts",
    "api_keys",
    "attempts",
    "batch_counters",
    "batch_inputs",
    "batch_lines",
    "batch_parts",
    "batches",
    "deliveries",
    "delivery_attempts",
    "deployment_states",
    "event_totals",
    "events",
    "files",
    "flows",
    "idempotency_keys",
    "images",
    "input_images",
    "job_requests",
    "job_results",
    "jobs",
    "ledger_entries",
    "metadata",
    "processes",
    "quota_groups",
    "recent_submits",
    "wallets",
    "webhook_endpoints",
    "webhook_recoveries",
    "webhook_targets",
]
