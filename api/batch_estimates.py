"""Before anything is paid: what a file would cost, how long it would take, and what is wrong with it.

A file may be large, so an estimate is made as a batch is validated: it is asked for, then read until its
status is `completed` or `failed`.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from api.auth import authenticate
from api.batch_models import ShownEstimate
from api.batch_orders import BackfillOrder, read_order
from api.batches import answer
from api.change import change
from api.documented import documented
from api.model_body import UNREADABLE, json_body
from api.query import query
from api.services import services_of
from imagequeue.domain.errors import IdempotencyMismatch, NotFound, TooManyRequests
from imagequeue.domain.ids import batch_name, split_batch_name
from imagequeue.domain.money import plain
from imagequeue.lifecycle.backfill.create import BatchOrder, create_batch
from imagequeue.lifecycle.backfill.estimate import BatchEstimate, read_estimate

router = APIRouter(prefix="/v2/batches", tags=["Batches"])

_REFUSALS = (NotFound, *UNREADABLE, IdempotencyMismatch, TooManyRequests)


@router.post(
    "/estimate",
    status_code=202,
    **documented(ShownEstimate, *_REFUSALS, status=202, body=json_body(BackfillOrder)),
)
async def ask_for_estimate(request: Request) -> Response:
    """Have a file checked and its cost worked out; nothing runs, and nothing is charged."""
    return await estimated(request, await read_order(request, BackfillOrder, dry_run=True))


@router.get("/{batch_id}/estimate", **documented(ShownEstimate, NotFound, counted=False))
async def show_estimate(request: Request, batch_id: str) -> Response:
    """An estimate, or how far it is."""
    return answer(await _shown(request, batch_id))


async def estimated(request: Request, order: BatchOrder) -> Response:
    """Have a dry run made, and answer with how far it is.

    Raises:
        InvalidRequest, IdempotencyMismatch: as `create_batch`.
    """
    created = await change(services_of(request), lambda runtime: create_batch(runtime, order))
    return answer(await _shown(request, batch_name(created.batch_id)), 202, replayed=created.replayed)


async def _shown(request: Request, name: str) -> dict[str, Any]:
    key, batch_id = await authenticate(request), split_batch_name(name)
    services = services_of(request)
    found = await query(
        services, lambda one: read_estimate(one, services.runtime.catalog, key.account_id, batch_id)
    )
    if found is None:
        raise NotFound(f"No estimate '{name[:200]}'")
    return {"id": name, **_object(found)}


def _object(estimate: BatchEstimate) -> dict[str, Any]:
    return {
        "object": "estimate",
        "status": estimate.state.value,
        "lines": estimate.lines,
        "skipped": estimate.skipped,
        "images": estimate.images,
        "price_usd": plain(estimate.price_usd),
        "seconds": estimate.seconds,
        "limited_by": list(estimate.limited_by),
        "errors": [dict(error) for error in estimate.errors],
    }
