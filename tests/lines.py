"""Batches in the database with lines that wait, for tests that need no file."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue.domain.batches import LineState
from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.store.batches.lines import NewLine, copy_lines
from imagequeue.store.jobs.insert import FlowKey, flow_ids
from tests.builders import MODEL

_ACCOUNT = text("INSERT INTO accounts (id, name, webhook_secrets) VALUES (:id, :name, '')")
_WALLET = text("INSERT INTO wallets (account_id, available, held, spent) VALUES (:id, 0, 0, 0)")
_KEY = text("INSERT INTO api_keys (id, account_id, name, lookup, digest) VALUES (:key, :id, 'k', :name, '')")
_FILE = text("""
    INSERT INTO files (id, account_id, purpose, filename, storage_key, size_bytes, sha256, stored_at)
    VALUES (:id, :account_id, 'batch', 'lines.jsonl', 'files/' || :id, 1, sha256('x'), clock_timestamp())
""")
_BATCH = text("""
    INSERT INTO batches (id, account_id, api_key_id, state, input_file_id, fingerprint, request_digest,
        last_number)
    VALUES (:id, :account_id, :key_id, 'in_progress', :file_id, 'f', 'r', :count)
""")
_PART = text("""
    INSERT INTO batch_parts (batch_id, part, file_id, state, first_number, line_count, finished_at)
    VALUES (:id, 1, :file_id, 'valid', 1, :count, clock_timestamp())
""")
_COUNTERS = text("INSERT INTO batch_counters (batch_id, total, waiting) VALUES (:id, :count, :count)")


def batch_with_lines(connection: Connection, count: int) -> UUID:
    """A batch in progress of a new account, with `count` lines of one flow that wait."""
    account_id, key_id, file_id, batch_id = new_id(), new_id(), new_id(), new_id()
    connection.execute(_ACCOUNT, {"id": account_id, "name": str(account_id)})
    connection.execute(_WALLET, {"id": account_id})
    connection.execute(_KEY, {"key": key_id, "id": account_id, "name": str(key_id)})
    connection.execute(_FILE, {"id": file_id, "account_id": account_id})
    values = {"id": batch_id, "account_id": account_id, "key_id": key_id, "file_id": file_id, "count": count}
    for statement in (_BATCH, _PART, _COUNTERS):
        connection.execute(statement, values)
    key = FlowKey(account_id, MODEL, "generate/auto/1/png/0/4000", Lane.BACKFILL, batch_id)
    flow = flow_ids(connection, [key])[key]
    copy_lines(connection, [_line(batch_id, flow, number) for number in range(1, count + 1)])
    return batch_id


def _line(batch_id: UUID, flow: int, number: int) -> NewLine:
    return NewLine(
        batch_id, number, 1, LineState.WAITING, flow, None, None, number * 100, 100, f"line-{number}", None
    )
