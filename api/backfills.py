"""`/v2/batches`: batches with everything that can be said of them.

Source: docs/design/backfills.md. The rows are those of `/v1/batches`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.auth import authenticate
from api.batch_estimates import estimated
from api.batch_models import BatchProgress, ShownBatch, ShownBatchList, ShownEstimate
from api.batch_objects import batch_progress, shown_batch
from api.batch_orders import Amount, BackfillOrder, Share, Weight, file_id, read_order
from api.batches import answer, ordered, own_batch
from api.change import change
from api.documented import documented, query_parameters
from api.model_body import UNREADABLE, json_body, read_model
from api.parameters import COMMAS, Parameters, read_parameters
from api.query import query
from api.services import services_of
from imagequeue import backfill_wiring
from imagequeue.dialects.fields import BodyFields
from imagequeue.domain.batches import BatchState
from imagequeue.domain.errors import (
    AlreadyFinal,
    DestinationRefused,
    IdempotencyMismatch,
    InvalidRequest,
    NotFound,
    TooManyRequests,
)
from imagequeue.domain.ids import split_batch_name
from imagequeue.egress import Purpose, check_destination
from imagequeue.lifecycle.backfill.create import append_part
from imagequeue.lifecycle.backfill.forecast import read_forecast
from imagequeue.lifecycle.supervise.control import BatchChange, BatchControl
from imagequeue.store.batches.views import BatchView, list_batches

router = APIRouter(prefix="/v2/batches", tags=["Batches"])


class BackfillPage(Parameters):
    """The query of a list."""

    state: Annotated[tuple[BatchState, ...], COMMAS] = ()
    cursor: Annotated[str | None, Field(max_length=100)] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class ChangedTerms(BodyFields):
    """New terms of a batch; what is left out stays, and null takes the budget or the webhook away."""

    weight: Weight | None = None
    budget_usd: Amount | None = None
    keep_available_usd: Amount | None = None
    max_failure_rate: Share | None = None
    webhook_url: str | None = None


class RetriedErrors(BodyFields):
    """Which errors are retried; none named: all of lines that failed."""

    codes: Annotated[list[Annotated[str, Field(max_length=100)]] | None, Field(max_length=100)] = None


class AppendedFile(BodyFields):
    """The file whose lines are appended."""

    input_file_id: str


_PAGE = query_parameters(
    BackfillPage,
    {
        "state": "Only batches in one of these states.",
        "cursor": "The `next_cursor` of the page before.",
        "limit": "Of a page.",
    },
)
_CREATES = (*UNREADABLE, IdempotencyMismatch, TooManyRequests)
_CHANGES = (NotFound, AlreadyFinal, *UNREADABLE)


@router.post(
    "",
    status_code=201,
    **documented(ShownBatch, *_CREATES, status=201, body=json_body(BackfillOrder), more={202: ShownEstimate}),
)
async def create_batch(request: Request) -> Response:
    """Create a batch of the lines of a file; they run once all of them were checked.

    With `dry_run` the answer is that of `/v2/batches/estimate`.
    """
    order = await read_order(request, BackfillOrder)
    if order.batch.dry_run:
        return await estimated(request, order)
    batch, created = await ordered(services_of(request), order)
    return answer(shown_batch(batch), 201, replayed=created.replayed)


@router.get("", **documented(ShownBatchList, NotFound, InvalidRequest, parameters=_PAGE))
async def read_batches(request: Request) -> Response:
    """The batches of the account, newest first."""
    key = await authenticate(request)
    page = read_parameters(request.query_params, BackfillPage, repeated={"state"})
    after = None if page.cursor is None else split_batch_name(page.cursor)
    found = await query(
        services_of(request),
        lambda one: list_batches(
            one, key.account_id, after=after, states=page.state or None, most=page.limit + 1
        ),
    )
    shown = [shown_batch(one) for one in found[: page.limit]]
    more = len(found) > page.limit
    return answer({"data": shown, "next_cursor": shown[-1]["id"] if more else None})


@router.get("/{batch_id}", **documented(BatchProgress, NotFound, counted=False))
async def read_batch(request: Request, batch_id: str) -> Response:
    """A batch, how fast it goes, and why not faster."""
    return answer(await _progress(request, await own_batch(request, batch_id)))


@router.patch("/{batch_id}", **documented(BatchProgress, *_CHANGES, body=json_body(ChangedTerms)))
async def change_terms(request: Request, batch_id: str) -> Response:
    """Change weight, budget, what is kept available, the brake or the webhook while the batch runs."""
    await authenticate(request)
    fields = await read_model(request, ChangedTerms)
    given = fields.model_fields_set
    terms = BatchChange(
        **fields.model_dump(exclude={"webhook_url"}),
        webhook_url=_webhook(request, fields.webhook_url),
        no_budget="budget_usd" in given and fields.budget_usd is None,
        no_webhook="webhook_url" in given and fields.webhook_url is None,
    )
    return await _controlled(request, batch_id, lambda control, own: control.change(*own, terms))


@router.post("/{batch_id}/pause", **documented(BatchProgress, NotFound, AlreadyFinal, counted=False))
async def pause_batch(request: Request, batch_id: str) -> Response:
    """Let no call begin from now on; calls that were sent are finished and kept."""
    return await _controlled(request, batch_id, lambda control, own: control.pause(*own))


@router.post("/{batch_id}/resume", **documented(BatchProgress, NotFound, AlreadyFinal))
async def resume_batch(request: Request, batch_id: str) -> Response:
    """Let it go on."""
    return await _controlled(request, batch_id, lambda control, own: control.resume(*own))


@router.post("/{batch_id}/cancel", **documented(BatchProgress, NotFound, AlreadyFinal, counted=False))
async def cancel_batch(request: Request, batch_id: str) -> Response:
    """Let no call begin from now on, and end; what calls in flight bring is kept."""
    return await _controlled(request, batch_id, lambda control, own: control.cancel(*own))


@router.post(
    "/{batch_id}/retry",
    **documented(BatchProgress, *_CHANGES, body=json_body(RetriedErrors, required=False)),
)
async def retry_batch(request: Request, batch_id: str) -> Response:
    """Let lines that failed run again, those with some codes or all; nothing else is asked for again."""
    await authenticate(request)
    codes = (await read_model(request, RetriedErrors)).codes
    return await _controlled(request, batch_id, lambda control, own: control.retry(*own, codes))


@router.post("/{batch_id}/give-up", **documented(BatchProgress, NotFound, AlreadyFinal, counted=False))
async def give_up_batch(request: Request, batch_id: str) -> Response:
    """Let the lines fail of which nobody knows whether they were served."""
    return await _controlled(request, batch_id, lambda control, own: control.give_up(*own))


@router.post("/{batch_id}/lines", **documented(BatchProgress, *_CHANGES, body=json_body(AppendedFile)))
async def append_lines(request: Request, batch_id: str) -> Response:
    """Append the lines of a file; they run once all of them were checked."""
    key = await authenticate(request)
    file = file_id((await read_model(request, AppendedFile)).input_file_id)
    found = split_batch_name(batch_id)
    await change(services_of(request), lambda runtime: append_part(runtime, key.account_id, found, file))
    return answer(await _progress(request, await own_batch(request, batch_id)))


async def _controlled(
    request: Request, name: str, act: Callable[[BatchControl, tuple[UUID, UUID]], None]
) -> Response:
    """Do something with one's own batch, and answer with what it is then."""
    key = await authenticate(request)
    own = (key.account_id, split_batch_name(name))
    await change(services_of(request), lambda runtime: act(backfill_wiring.batch_control(runtime), own))
    return answer(await _progress(request, await own_batch(request, name)))


async def _progress(request: Request, batch: BatchView) -> dict[str, Any]:
    services = services_of(request)
    found = await query(services, lambda one: read_forecast(one, services.runtime.catalog, batch))
    return batch_progress(batch, found)


def _webhook(request: Request, url: str | None) -> str | None:
    """The URL as it is stored.

    Raises:
        DestinationRefused: webhooks may not go there.
    """
    if url is None:
        return None
    try:
        return check_destination(url, services_of(request).runtime.policy, Purpose.WEBHOOK).url
    except DestinationRefused as error:
        raise DestinationRefused(f"webhook_url: {error.message}") from None
