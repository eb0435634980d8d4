"""The input images that lines of a batch name by URL: which are stored, which are due to be fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

_FIND = text("""
    SELECT url, is_mask, storage_key, refusal FROM batch_inputs
    JOIN batches ON batches.id = batch_id
    WHERE batch_id = :batch_id AND url_digest = ANY(CAST(:digests AS bytea[]))
        AND (refusal IS NULL OR since = brake_from)
""")

_WANT = text("""
    INSERT INTO batch_inputs AS known (batch_id, url_digest, is_mask, url, since)
    SELECT :batch_id, wanted.digest, wanted.is_mask, wanted.url, brake_from
    FROM batches, unnest(CAST(:digests AS bytea[]), CAST(:masks AS boolean[]), CAST(:urls AS text[]))
        AS wanted (digest, is_mask, url)
    WHERE batches.id = :batch_id
    ORDER BY wanted.digest, wanted.is_mask
    ON CONFLICT (batch_id, url_digest, is_mask) DO UPDATE
    SET since = excluded.since, tries = 0, refusal = NULL, due_at = clock_timestamp()
    WHERE known.refusal IS NOT NULL AND known.since <> excluded.since
""")

# Of a random account that has not its share of the tries yet: slow URLs delay their own account alone. A WITH
# that locks is read once; some plans of a subselect would repeat the LIMIT for each row and so exceed it.
_CLAIM = text("""
    WITH account AS (
        SELECT account_id FROM (
            SELECT DISTINCT account_id FROM batch_inputs JOIN batches ON batches.id = batch_id
            WHERE due_at < clock_timestamp() AND account_id <> ALL(CAST(:passed_over AS uuid[]))
        ) AS waits
        ORDER BY random() LIMIT 1
    ), due AS (
        SELECT batch_id, url_digest, is_mask FROM batch_inputs JOIN batches ON batches.id = batch_id
        WHERE due_at < clock_timestamp() AND account_id = (SELECT account_id FROM account)
        ORDER BY due_at LIMIT 1 FOR UPDATE OF batch_inputs SKIP LOCKED
    )
    UPDATE batch_inputs SET due_at = clock_timestamp() + make_interval(secs => :lease_seconds),
        tries = tries + 1
    FROM due
    WHERE (batch_inputs.batch_id, batch_inputs.url_digest, batch_inputs.is_mask)
        = (due.batch_id, due.url_digest, due.is_mask)
    RETURNING batch_inputs.batch_id, (SELECT account_id FROM account), url, batch_inputs.is_mask, tries
""")

_END = text("""
    UPDATE batch_inputs SET storage_key = :storage_key, refusal = :refusal,
        due_at = clock_timestamp() + make_interval(secs => CAST(:due_in AS float8))
    WHERE batch_id = :batch_id AND url_digest = :digest AND is_mask = :is_mask AND due_at IS NOT NULL
""")


FILE_SCHEME = "file:"
"""Begins what a line names where the image is a file of its account: `file:file-...`."""


@dataclass(frozen=True, slots=True)
class InputUrl:
    """A URL, or a `file:` id, that a line names: of an input image, or of its mask."""

    url: str
    is_mask: bool

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the URL."""
        return hashlib.sha256(self.url.encode()).digest()


@dataclass(frozen=True, slots=True)
class FetchedInput:
    """What came of a URL: the key of the stored image, or why it cannot be used; or nothing yet."""

    storage_key: str | None
    refusal: str | None


@dataclass(frozen=True, slots=True)
class DueInput:
    """A URL that is to be fetched now, for a batch of an account; `tries` with this one."""

    batch_id: UUID
    account_id: UUID
    source: InputUrl
    tries: int


def find_inputs(
    connection: Connection, batch_id: UUID, wanted: Collection[InputUrl]
) -> Mapping[InputUrl, FetchedInput]:
    """What is known of the URLs. One that was refused before a retry is not known any more."""
    rows = connection.execute(_FIND, {"batch_id": batch_id, "digests": [one.digest for one in wanted]})
    return {InputUrl(row[0], row[1]): FetchedInput(row[2], row[3]) for row in rows}


def want_inputs(connection: Connection, batch_id: UUID, wanted: Collection[InputUrl]) -> None:
    """Let URLs be fetched; those that are known stay as they are."""
    each = list(wanted)
    values = {
        "batch_id": batch_id,
        "digests": [one.digest for one in each],
        "masks": [one.is_mask for one in each],
        "urls": [one.url for one in each],
    }
    connection.execute(_WANT, values)


def claim_input(
    connection: Connection, passed_over: Collection[UUID], lease_seconds: float
) -> DueInput | None:
    """Lease the URL of some account that has been due longest; None: none is due but of `passed_over`."""
    values = {"passed_over": list(passed_over), "lease_seconds": lease_seconds}
    row = connection.execute(_CLAIM, values).one_or_none()
    return None if row is None else DueInput(row[0], row[1], InputUrl(row[2], row[3]), row[4])


def end_fetch(
    connection: Connection,
    due: DueInput,
    *,
    storage_key: str | None = None,
    refusal: str | None = None,
    due_in: float | None = None,
) -> None:
    """Record where the image is stored, why it cannot be used, or in how many seconds to try again."""
    values = {
        "batch_id": due.batch_id,
        "digest": due.source.digest,
        "is_mask": due.source.is_mask,
        "storage_key": storage_key,
        "refusal": refusal,
        "due_in": due_in,
    }
    connection.execute(_END, values)
