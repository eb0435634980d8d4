"""Endpoints of an account, as OpenAI's clients call them (`/v1/webhook_endpoints`), and below `/v2/webhooks`.

Source: docs/design/webhooks.md, "Endpoints".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.auth import authenticate
from api.bulkhead import isolated
from api.change import LOCK_SECONDS, change
from api.documented import documented, query_parameters
from api.model_body import UNREADABLE, json_body, read_model
from api.parameters import Parameters, read_parameters
from api.query import query
from api.services import ApiServices, services_of
from api.webhook_models import (
    DeletedEndpoint,
    EndpointList,
    EventTestResult,
    EventTypes,
    ShownEndpoint,
    ShownEndpointWithSecret,
)
from imagequeue.dialects.fields import BodyFields
from imagequeue.domain.errors import InvalidRequest, NotFound
from imagequeue.domain.webhook_events import EVENT_TYPES
from imagequeue.lifecycle.deliver.sample_event import EventSent, send_test_event
from imagequeue.lifecycle.operate import webhook_endpoints as endpoints
from imagequeue.lifecycle.operate.webhook_endpoints import EndpointFields
from imagequeue.lifecycle.operate.webhook_secrets import OVERLAP, rotate_webhook_secret
from imagequeue.store.webhook_endpoints import WebhookEndpoint, list_endpoints, read_endpoint
from imagequeue.store.webhook_secrets import SecretOwner

PATHS = ("/v1/webhook_endpoints", "/v2/webhooks/endpoints")
_ONE = "/{endpoint_id}"

router = APIRouter(tags=["Webhooks"])
_endpoints = APIRouter()
"""The routes that stand below each of `PATHS`."""

TEST_SECONDS = 20.0
"""What a test event may take: the attempt itself has 15 s."""


class EndpointBody(BodyFields):
    """What a client says of an endpoint."""

    name: str | None = None
    url: str | None = None
    event_types: list[str] | None = None


class EndpointRotation(BodyFields):
    """The body of a rotation, as OpenAI has it."""

    keep_old_secret_active_for_24_hours: bool = False


class EventTest(BodyFields):
    """The body of a test."""

    event_type: str


class EndpointPage(Parameters):
    """The query of a list."""

    after: Annotated[str | None, Field(max_length=100)] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


_NAMED = (NotFound, *UNREADABLE)
_FIELDS = json_body(EndpointBody)
_PAGE = query_parameters(EndpointPage, {"after": "The id that a page begins behind.", "limit": "Of a page."})


@_endpoints.post("", **documented(ShownEndpointWithSecret, *UNREADABLE, body=_FIELDS))
async def create(request: Request) -> Response:
    """Make an endpoint; only this answer has its `signing_secret`."""
    key = await authenticate(request)
    fields = EndpointFields(**(await read_model(request, EndpointBody)).model_dump())
    issued = await change(
        services_of(request),
        lambda runtime: endpoints.open_endpoint(runtime, key.account_id, fields, lock_seconds=LOCK_SECONDS),
    )
    return _json(_object(issued.endpoint) | {"signing_secret": issued.secret})


@_endpoints.get("", **documented(EndpointList, NotFound, InvalidRequest, parameters=_PAGE))
async def read_list(request: Request) -> Response:
    """The endpoints of the account, newest first. Query: `after` (an id), `limit` (1 to 100, default 20)."""
    key = await authenticate(request)
    page = read_parameters(request.query_params, EndpointPage)
    before = None if page.after is None else _id(page.after)
    most, account_id = page.limit + 1, key.account_id
    found = await query(services_of(request), lambda one: list_endpoints(one, account_id, before, most))
    shown = [_object(one) for one in found[: page.limit]]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    more = len(found) > page.limit
    return _json({"object": "list", "data": shown, "first_id": first, "last_id": last, "has_more": more})


@_endpoints.get(_ONE, **documented(ShownEndpoint, NotFound))
async def read(request: Request, endpoint_id: str) -> Response:
    """An endpoint."""
    return _json(_object(await _own(request, endpoint_id)))


@_endpoints.post(_ONE, **documented(ShownEndpoint, *_NAMED, body=_FIELDS))
async def update(request: Request, endpoint_id: str) -> Response:
    """Change the name, the URL or the types of an endpoint."""
    own = await _own(request, endpoint_id)
    fields = EndpointFields(**(await read_model(request, EndpointBody)).model_dump())
    changed = await change(
        services_of(request),
        lambda runtime: endpoints.update_endpoint(
            runtime, own.account_id, own.id, fields, lock_seconds=LOCK_SECONDS
        ),
    )
    return _json(_object(changed))


@_endpoints.delete(_ONE, **documented(DeletedEndpoint, NotFound))
async def delete(request: Request, endpoint_id: str) -> Response:
    """Delete an endpoint; what waits for it is not sent any more."""
    own = await _own(request, endpoint_id)
    await change(
        services_of(request),
        lambda runtime: endpoints.close_endpoint(runtime, own.account_id, own.id, lock_seconds=LOCK_SECONDS),
    )
    return _json({"id": _shown_id(own.id), "object": "webhook_endpoint.deleted", "deleted": True})


@_endpoints.post(
    f"{_ONE}/rotate_secret",
    **documented(ShownEndpointWithSecret, *_NAMED, body=json_body(EndpointRotation, required=False)),
)
async def rotate(request: Request, endpoint_id: str) -> Response:
    """Give an endpoint a new secret, which only this answer has."""
    own = await _own(request, endpoint_id)
    keeps = (await read_model(request, EndpointRotation)).keep_old_secret_active_for_24_hours
    overlap = OVERLAP if keeps else timedelta(0)
    whose = (SecretOwner.ENDPOINT, own.id)
    rotated = await change(
        services_of(request),
        lambda runtime: rotate_webhook_secret(
            runtime.engine, runtime.keyring, *whose, overlap, lock_seconds=LOCK_SECONDS
        ),
    )
    return _json(_object(own) | {"signing_secret": rotated.secret})


@_endpoints.post(f"{_ONE}/test", **documented(EventTestResult, *_NAMED, body=json_body(EventTest)))
async def test(request: Request, endpoint_id: str) -> Response:
    """Send an event with sample data to an endpoint now, once; says what it answered."""
    own = await _own(request, endpoint_id)
    event_type = (await read_model(request, EventTest)).event_type
    if event_type not in EVENT_TYPES:
        raise InvalidRequest(f"event_type must be one of {', '.join(EVENT_TYPES)}")
    sent = await send_test(services_of(request), (own, event_type))
    if sent.status is None:
        raise InvalidRequest(f"The endpoint did not answer: {sent.reason}")
    told = {"object": "webhook_endpoint.test", "webhook_endpoint_id": _shown_id(own.id), "success": True}
    return _json({**told, "event_type": event_type, "status_code": sent.status})


for _path in PATHS:
    router.include_router(_endpoints, prefix=_path)


@router.get("/v1/webhook_event_types", **documented(EventTypes, counted=False))
async def event_types(request: Request) -> Response:
    """The events that there are."""
    await authenticate(request)
    return _json({"object": "list", "data": list(EVENT_TYPES)})


@isolated(what="test events", threads=2, patience=TEST_SECONDS)
def send_test(services: ApiServices, wanted: tuple[WebhookEndpoint, str]) -> EventSent:
    """Send a test event. It has threads of its own: a receiver may take 15 s to answer."""
    return send_test_event(services.runtime, *wanted, datetime.now(UTC))


async def _own(request: Request, endpoint_id: str) -> WebhookEndpoint:
    key = await authenticate(request)
    wanted, account_id = _id(endpoint_id), key.account_id
    found = await query(services_of(request), lambda one: read_endpoint(one, account_id, wanted))
    if found is None:
        raise NotFound(f"No webhook endpoint '{endpoint_id[:200]}'")
    return found


def _id(shown: str) -> UUID:
    try:
        found = UUID(shown.removeprefix("we_"))
    except ValueError:
        found = None
    if found is None or _shown_id(found) != shown:
        raise NotFound(f"No webhook endpoint '{shown[:200]}'")
    return found


def _shown_id(endpoint_id: UUID) -> str:
    return f"we_{endpoint_id.hex}"


def _object(one: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": _shown_id(one.id),
        "object": "webhook_endpoint",
        "created_at": int(one.created_at.timestamp()),
        "updated_at": int(one.updated_at.timestamp()),
        "name": one.name,
        "url": one.url,
        "event_types": list(one.event_types),
    }


def _json(body: dict[str, Any]) -> Response:
    return Response(json.dumps(body), headers={"Cache-Control": "no-store"}, media_type="application/json")
