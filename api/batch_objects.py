"""A batch as the two doors write it: OpenAI's object, and everything that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from imagequeue.domain.batches import BatchState
from imagequeue.domain.ids import batch_name, file_name
from imagequeue.domain.money import plain
from imagequeue.domain.status_body import timestamp
from imagequeue.lifecycle.backfill.forecast import BatchForecast
from imagequeue.store.batches.results import LineErrors
from imagequeue.store.batches.views import BatchView, PartView

_TIMES = (
    "created_at",
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)


def openai_batch(batch: BatchView) -> dict[str, Any]:
    """OpenAI's object. `endpoint` is empty where every line has its own."""
    state = BatchState.IN_PROGRESS if batch.state is BatchState.PAUSED else batch.state
    counts = batch.counts
    moments: dict[str, datetime | None] = {name: getattr(batch, name) for name in _TIMES}
    return {
        "id": batch_name(batch.id),
        "object": "batch",
        "endpoint": batch.endpoint or "",
        "errors": _errors(batch),
        "input_file_id": file_name(batch.input_file_id),
        "completion_window": batch.completion_window,
        "status": state.value,
        "output_file_id": batch.output_file_id and file_name(batch.output_file_id),
        "error_file_id": batch.error_file_id and file_name(batch.error_file_id),
        **{name: moment and int(moment.timestamp()) for name, moment in moments.items()},
        "request_counts": {
            "total": counts["total"],
            "completed": counts["completed"] + counts["skipped"],
            "failed": counts["failed"] + counts["unknown"],
        },
        "metadata": batch.metadata,
    }


def shown_batch(batch: BatchView) -> dict[str, Any]:
    """Everything that the rows of a batch say."""
    moments: dict[str, datetime | None] = {name: getattr(batch, name) for name in ("start_by", *_TIMES)}
    return {
        "id": batch_name(batch.id),
        "object": "batch",
        "status": batch.state.value,
        "reasons": [reason.value for reason in batch.reasons],
        "endpoint": batch.endpoint,
        "input_file_id": file_name(batch.input_file_id),
        "output_file_id": batch.output_file_id and file_name(batch.output_file_id),
        "error_file_id": batch.error_file_id and file_name(batch.error_file_id),
        "parts": [_part(part) for part in batch.parts],
        "counts": batch.counts,
        "images": batch.images,
        "held_usd": plain(batch.held_usd),
        "spent_usd": plain(batch.spent_usd),
        "budget_usd": None if batch.budget_usd is None else plain(batch.budget_usd),
        "keep_available_usd": plain(batch.keep_available_usd),
        "estimate_usd": plain(batch.price_usd),
        "weight": batch.weight,
        "max_failure_rate": batch.max_failure_rate,
        "on_unknown": batch.on_unknown,
        "dedupe": batch.dedupe,
        "limit": batch.line_limit,
        "webhook_url": batch.webhook_url,
        "line_webhooks": batch.line_webhooks,
        "metadata": batch.metadata,
        "completion_window": batch.completion_window,
        **{name: moment and timestamp(moment) for name, moment in moments.items()},
    }


def batch_progress(batch: BatchView, progress: BatchForecast) -> dict[str, Any]:
    """A batch, how fast it goes, and why not faster."""
    return shown_batch(batch) | {
        "running": progress.running,
        "speed": {
            "last_minute": progress.last_minute,
            "last_fifteen_minutes": round(progress.last_quarter / 15, 2),
            "quota": round(progress.quota_per_minute, 2),
        },
        "eta_seconds": progress.eta_seconds,
        "why_not_faster": list(progress.reasons),
    }


def error_groups(found: Sequence[LineErrors]) -> dict[str, Any]:
    """The errors of a batch's lines."""
    return {
        "data": [
            {
                "code": one.error_code,
                "count": one.count,
                "message": one.message,
                "first_line": one.first_number,
                "custom_ids": list(one.custom_ids),
            }
            for one in found
        ]
    }


def _errors(batch: BatchView) -> dict[str, Any] | None:
    """The errors of the file, where it was refused for them."""
    found = [error for part in batch.parts[:1] for error in part.errors]
    return {"object": "list", "data": found} if batch.state is BatchState.FAILED else None


def _part(part: PartView) -> dict[str, Any]:
    return {
        "file_id": file_name(part.file_id),
        "state": part.state,
        "bytes": part.size_bytes,
        "bytes_validated": part.byte_reached,
        "lines": part.line_count,
        "skipped": part.skipped_count,
        "images": part.image_count,
        "price_usd": None if part.price_usd is None else plain(part.price_usd),
        "errors": list(part.errors),
    }
