"""`POST /callbacks/{token}`: takes upstream callbacks. The token authorises the request; no key is needed.

The content type is ignored, because an upstream may not repeat an upstream callback that was refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from api.body import any_content
from api.bulkhead import isolated
from api.documented import documented
from api.services import ApiServices, services_of
from imagequeue.domain.errors import InvalidRequest, NotFound, TooLarge

router = APIRouter(tags=["Callbacks"])

LARGEST_BYTES = 64 * 1024
"""More than a final status body with its links has."""

BODY = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}


@router.post(
    "/callbacks/{token}",
    status_code=204,
    response_class=Response,
    **documented({}, NotFound, InvalidRequest, TooLarge, status=204, needs=(), body=BODY),
)
async def take_callback(request: Request, token: str) -> Response:
    """For upstreams only: store the reference by which one of them knows the request of an attempt."""
    services = services_of(request)
    attempt_id = services.runtime.keyring.attempt_of_callback(token)
    if attempt_id is None:
        raise NotFound
    with await any_content(request, LARGEST_BYTES) as content:
        body = content.json()
    await learn_reference(services, (attempt_id, body))
    return Response(status_code=204)


@isolated(what="callbacks", threads=1)
def learn_reference(services: ApiServices, posted: tuple[UUID, Mapping[str, Any]]) -> None:
    """Learn from an upstream's body what it calls the request of an attempt."""
    services.upstream_callbacks.take(*posted)
