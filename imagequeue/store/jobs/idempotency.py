"""Which submits were accepted before (docs/design/pipeline.md, "Idempotency").

A key is claimed by inserting its row before the job exists: another submit with the same key waits on the
unique index until the first one commits, and then finds its row. If the submit is refused after all, the same
transaction deletes the row, so only accepted submits are remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from imagequeue.store.arrays import array

KEY_SECONDS = 24 * 3600
"""How long an Idempotency-Key is remembered, as clients are told."""

RETRY_SECONDS = 600
"""How long a submit without a key is remembered, for the retries of a client that counts them."""


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """A submit with an Idempotency-Key; keys belong to accounts."""

    account_id: UUID
    key: str
    fingerprint: bytes
    job_id: UUID


@dataclass(frozen=True, slots=True)
class RetryClaim:
    """A submit without an Idempotency-Key. `retry_count` comes from the client: 0 for the first submit."""

    api_key_id: UUID
    fingerprint: bytes
    job_id: UUID
    retry_count: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """The accepted submit that has the key, or the body, of a claim."""

    job_id: UUID
    fingerprint: bytes


_CLAIM_KEYS = text("""
    INSERT INTO idempotency_keys AS known (account_id, key, fingerprint, job_id)
    SELECT account_id, key, fingerprint, job_id
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:keys AS text[]), CAST(:fingerprints AS bytea[]),
        CAST(:job_ids AS uuid[])) AS new (account_id, key, fingerprint, job_id)
    ORDER BY account_id, key
    ON CONFLICT (account_id, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, job_id = excluded.job_id, created_at = clock_timestamp()
    WHERE known.created_at < clock_timestamp() - make_interval(secs => :age)
    RETURNING job_id
""")

_EARLIER_BY_KEY = text("""
    SELECT new.job_id AS claimant, known.job_id, known.fingerprint
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:keys AS text[]), CAST(:job_ids AS uuid[]))
        AS new (account_id, key, job_id)
    JOIN idempotency_keys AS known USING (account_id, key)
""")

_FIND_KEYS = text(f"""
    {_EARLIER_BY_KEY.text} WHERE known.created_at >= clock_timestamp() - make_interval(secs => :age)
""")  # both parts are constants

_CLAIM_RETRIES = text("""
    INSERT INTO recent_submits AS known (api_key_id, fingerprint, job_id, retry_count)
    SELECT api_key_id, fingerprint, job_id, retry_count
    FROM unnest(CAST(:api_key_ids AS uuid[]), CAST(:fingerprints AS bytea[]), CAST(:job_ids AS uuid[]),
        CAST(:retry_counts AS int[])) AS new (api_key_id, fingerprint, job_id, retry_count)
    ORDER BY api_key_id, fingerprint
    ON CONFLICT (api_key_id, fingerprint) DO UPDATE
    SET job_id = excluded.job_id, retry_count = excluded.retry_count, created_at = clock_timestamp()
    WHERE excluded.retry_count <= known.retry_count
        OR known.created_at < clock_timestamp() - make_interval(secs => :age)
        OR EXISTS (SELECT FROM jobs WHERE jobs.id = known.job_id AND jobs.status IN ('FAILED', 'ERROR'))
    RETURNING job_id
""")

_EARLIER_BY_RETRY = text("""
    SELECT new.job_id AS claimant, known.job_id, known.fingerprint
    FROM unnest(CAST(:api_key_ids AS uuid[]), CAST(:fingerprints AS bytea[]), CAST(:job_ids AS uuid[]))
        AS new (api_key_id, fingerprint, job_id)
    JOIN recent_submits AS known USING (api_key_id, fingerprint)
""")

_WAS_SUBMITTED = text("""
    SELECT EXISTS (SELECT FROM recent_submits WHERE api_key_id = :api_key_id AND fingerprint = :fingerprint)
""")

_DROP_KEYS = text("""
    DELETE FROM idempotency_keys AS known
    USING unnest(CAST(:account_ids AS uuid[]), CAST(:keys AS text[])) AS gone (account_id, key)
    WHERE known.account_id = gone.account_id AND known.key = gone.key
""")

_DROP_RETRIES = text("""
    DELETE FROM recent_submits AS known
    USING unnest(CAST(:api_key_ids AS uuid[]), CAST(:fingerprints AS bytea[]))
        AS gone (api_key_id, fingerprint)
    WHERE known.api_key_id = gone.api_key_id AND known.fingerprint = gone.fingerprint
""")


def claim_keys(connection: Connection, claims: Sequence[KeyClaim]) -> dict[UUID, Earlier]:
    """Claim keys, each at most once in the list.

    Returns, by the claim's job, the earlier submits that have taken the key.
    """
    given = {
        "account_ids": [claim.account_id for claim in claims],
        "keys": [claim.key for claim in claims],
        "job_ids": [claim.job_id for claim in claims],
    }
    fingerprints = {"fingerprints": [claim.fingerprint for claim in claims], "age": KEY_SECONDS}
    claimed = set(connection.execute(_CLAIM_KEYS, given | fingerprints).scalars())
    return {} if len(claimed) == len(claims) else _earlier(connection, _EARLIER_BY_KEY, given, claimed)


def claim_retries(connection: Connection, claims: Sequence[RetryClaim]) -> dict[UUID, Earlier]:
    """Store submits by body, each body at most once in the list.

    Returns, by the claim's job, the earlier submits that are repeated: those with a smaller retry count whose
    job has not failed. Submits with equal counts are separate jobs; the later one takes the row.
    """
    given = {
        "api_key_ids": array(claim.api_key_id for claim in claims),
        "fingerprints": array(claim.fingerprint for claim in claims),
        "job_ids": array(claim.job_id for claim in claims),
    }
    counts = {"retry_counts": array(claim.retry_count for claim in claims), "age": RETRY_SECONDS}
    claimed = set(connection.execute(_CLAIM_RETRIES, given | counts).scalars())
    return {} if len(claimed) == len(claims) else _earlier(connection, _EARLIER_BY_RETRY, given, claimed)


def was_submitted(connection: Connection, api_key_id: UUID, fingerprint: bytes) -> bool:
    """Whether the key has submitted this body before, without an Idempotency-Key and not long ago."""
    given = {"api_key_id": api_key_id, "fingerprint": fingerprint}
    return connection.execute(_WAS_SUBMITTED, given).scalar_one()


def find_keys(connection: Connection, claims: Sequence[KeyClaim]) -> dict[UUID, Earlier]:
    """The accepted submits that have these keys, by the claim's job; nothing is claimed."""
    given = {
        "account_ids": [claim.account_id for claim in claims],
        "keys": [claim.key for claim in claims],
        "job_ids": [claim.job_id for claim in claims],
        "age": KEY_SECONDS,
    }
    return _earlier(connection, _FIND_KEYS, given, set())


def drop_keys(connection: Connection, claims: Sequence[KeyClaim]) -> None:
    """Delete claimed keys whose submits were refused."""
    given = {"account_ids": [claim.account_id for claim in claims], "keys": [claim.key for claim in claims]}
    connection.execute(_DROP_KEYS, given)


def drop_retries(connection: Connection, claims: Sequence[RetryClaim]) -> None:
    """Delete stored submits that were refused."""
    given = {
        "api_key_ids": [claim.api_key_id for claim in claims],
        "fingerprints": [claim.fingerprint for claim in claims],
    }
    connection.execute(_DROP_RETRIES, given)


def forget_expired(connection: Connection, limit: int) -> int:
    """Delete up to `limit` rows of each table whose time is over; returns how many."""
    deleted = 0
    for table, seconds in (("idempotency_keys", KEY_SECONDS), ("recent_submits", RETRY_SECONDS)):
        statement = text(f"""
            DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {table} WHERE created_at < clock_timestamp() - make_interval(secs => :age)
                ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED))
        """)  # noqa: S608  # the names are constants of this function
        deleted += connection.execute(statement, {"age": seconds, "limit": limit}).rowcount
    return deleted


def _earlier(
    connection: Connection, query: TextClause, given: Mapping[str, Any], claimed: set[UUID]
) -> dict[UUID, Earlier]:
    rows = connection.execute(query, given)
    return {
        row.claimant: Earlier(row.job_id, bytes(row.fingerprint))
        for row in rows
        if row.claimant not in claimed
    }
