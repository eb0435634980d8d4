"""Identifiers. Keys are UUIDv7 (RFC 9562), so that they sort by the time at which they were made."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import uuid_utils

from imagequeue.domain.errors import NotFound

_FILE, _BATCH = "file-", "batch_"
_HEX = re.compile("[0-9a-f]{32}")


def new_id() -> UUID:
    """Make a new UUIDv7."""
    return UUID(bytes=uuid_utils.uuid7().bytes)


def uuid7_floor(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment (an aware time): every one made later is larger."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)


def request_id(model_id: str, operation: str, job_id: UUID) -> str:
    """What clients call a job: `{model_id}_{uuid7}`; edits have `{model_id}-edit_{uuid7}`.

    Source: docs/design/protocols.md, "Request ids".
    """
    return f"{model_label(model_id, operation)}_{job_id}"


def file_name(file_id: UUID) -> str:
    """What clients call a file: `file-{uuid7}`, without dashes in it."""
    return f"{_FILE}{file_id.hex}"


def split_file_name(text: str) -> UUID:
    """Read what `file_name` wrote.

    Raises:
        NotFound: the text names no file.
    """
    return _named(text, _FILE, "file")


def batch_name(batch_id: UUID) -> str:
    """What clients call a batch: `batch_{uuid7}`, without dashes in it."""
    return f"{_BATCH}{batch_id.hex}"


def split_batch_name(text: str) -> UUID:
    """Read what `batch_name` wrote.

    Raises:
        NotFound: the text names no batch.
    """
    return _named(text, _BATCH, "batch")


def _named(text: str, prefix: str, kind: str) -> UUID:
    found = _HEX.fullmatch(text.removeprefix(prefix)) if text.startswith(prefix) else None
    if found is None:
        raise NotFound(f"No {kind} '{text[:200]}'")
    return UUID(text.removeprefix(prefix))


def model_label(model_id: str, operation: str) -> str:
    """The model as clients see it: edits carry `-edit`."""
    return f"{model_id}-edit" if operation == "edit" else model_id


def split_request_id(text: str) -> tuple[str, UUID]:
    """Read a request id into its model label and the job's id.

    Raises:
        NotFound: the text is not a request id, so no job has it.
    """
    label, _, tail = text.rpartition("_")
    try:
        job_id = UUID(tail)
    except ValueError:
        raise NotFound(f"No request '{text[:200]}'") from None
    if not label or str(job_id) != tail:
        raise NotFound(f"No request '{text[:200]}'")
    return label, job_id
