"""`/v1/batches`: batches as OpenAI's clients create and follow them.

Source: docs/design/backfills.md. The rows are those of `/v2/batches`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.auth import authenticate
from api.batch_models import OpenAIBatch, OpenAIBatchList
from api.batch_objects import openai_batch
from api.batch_orders import OpenAIOrder, read_order
from api.change import change
from api.documented import documented, query_parameters
from api.model_body import UNREADABLE, json_body
from api.parameters import Parameters, read_parameters
from api.query import query
from api.services import ApiServices, services_of
from imagequeue import backfill_wiring
from imagequeue.domain.errors import (
    AlreadyFinal,
    IdempotencyMismatch,
    InvalidRequest,
    NotFound,
    TooManyRequests,
)
from imagequeue.domain.ids import split_batch_name
from imagequeue.lifecycle.backfill.create import BatchOrder, CreatedBatch, create_batch
from imagequeue.store.batches.views import BatchView, find_batch, list_batches

router = APIRouter(prefix="/v1/batches", tags=["Batches"])


class BatchPage(Parameters):
    """The query of a list."""

    after: Annotated[str | None, Field(max_length=100)] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


_PAGE = query_parameters(BatchPage, {"after": "The id that a page begins behind.", "limit": "Of a page."})
_REFUSALS = (*UNREADABLE, IdempotencyMismatch, TooManyRequests)


@router.post("", **documented(OpenAIBatch, *_REFUSALS, body=json_body(OpenAIOrder)))
async def create(request: Request) -> Response:
    """Create a batch of the lines of a file; they run once all of them were checked."""
    batch, created = await ordered(services_of(request), await read_order(request, OpenAIOrder))
    return answer(openai_batch(batch), replayed=created.replayed)


@router.get("", **documented(OpenAIBatchList, NotFound, InvalidRequest, parameters=_PAGE))
async def read_list(request: Request) -> Response:
    """The batches of the account, newest first."""
    key = await authenticate(request)
    page = read_parameters(request.query_params, BatchPage)
    after = None if page.after is None else split_batch_name(page.after)
    found = await query(
        services_of(request),
        lambda one: list_batches(one, key.account_id, after=after, states=None, most=page.limit + 1),
    )
    shown = [openai_batch(one) for one in found[: page.limit]]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    more = len(found) > page.limit
    return answer({"object": "list", "data": shown, "first_id": first, "last_id": last, "has_more": more})


@router.get("/{batch_id}", **documented(OpenAIBatch, NotFound, counted=False))
async def read(request: Request, batch_id: str) -> Response:
    """A batch."""
    return answer(openai_batch(await own_batch(request, batch_id)))


@router.post("/{batch_id}/cancel", **documented(OpenAIBatch, NotFound, AlreadyFinal, counted=False))
async def cancel(request: Request, batch_id: str) -> Response:
    """Let no further call begin; what calls in flight bring is kept."""
    key = await authenticate(request)
    found = split_batch_name(batch_id)
    await change(
        services_of(request),
        lambda runtime: backfill_wiring.batch_control(runtime).cancel(key.account_id, found),
    )
    return answer(openai_batch(await own_batch(request, batch_id)))


async def ordered(services: ApiServices, order: BatchOrder) -> tuple[BatchView, CreatedBatch]:
    """Create a batch, or find the one that the same order has created.

    Raises:
        InvalidRequest, IdempotencyMismatch: as `create_batch`.
    """
    created = await change(services, lambda runtime: create_batch(runtime, order))
    account_id = order.batch.account_id
    batch = await query(services, lambda one: find_batch(one, account_id, created.batch_id))
    if batch is None:
        raise NotFound
    return batch, created


async def own_batch(request: Request, name: str) -> BatchView:
    """The caller's batch.

    Raises:
        NotFound: there is none.
    """
    key, batch_id = await authenticate(request), split_batch_name(name)
    found = await query(services_of(request), lambda one: find_batch(one, key.account_id, batch_id))
    if found is None:
        raise NotFound(f"No batch '{name[:200]}'")
    return found


def answer(body: Mapping[str, Any], status: int = 200, *, replayed: bool = False) -> Response:
    """The answer; `replayed` tells a repeat that it was one."""
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response(json.dumps(body), status, headers, media_type="application/json")
