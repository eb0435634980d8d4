"""`/v2/webhooks`: the account's own webhook secret, and recoveries of what its receivers missed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.auth import authenticate
from api.change import LOCK_SECONDS, change
from api.documented import documented
from api.listing import Moment
from api.model_body import UNREADABLE, json_body, read_model
from api.query import query
from api.services import services_of
from api.webhook_models import NewSecret, RecoveryState
from imagequeue.dialects.fields import BodyFields
from imagequeue.domain.errors import NotFound
from imagequeue.domain.status_body import timestamp
from imagequeue.lifecycle.deliver.redeliver import start_recovery
from imagequeue.lifecycle.operate.webhook_secrets import OVERLAP, RotatedSecret, rotate_webhook_secret
from imagequeue.runtime import Runtime
from imagequeue.store import recoveries
from imagequeue.store.recoveries import Recovery
from imagequeue.store.webhook_secrets import SecretOwner

router = APIRouter(prefix="/v2/webhooks", tags=["Webhooks"])

_LATER = datetime(9000, 1, 1, tzinfo=UTC)
_DEFAULT_HOURS = OVERLAP / timedelta(hours=1)


class Rotation(BodyFields):
    """The body of a rotation."""

    overlap_hours: Annotated[float, Field(ge=0, le=168, allow_inf_nan=False)] = _DEFAULT_HOURS


class RecoveryRange(BodyFields):
    """The body of a recovery: whose events, by their times. `until` is now at the latest."""

    since: Moment
    until: Moment = _LATER


@router.post("/rotate-secret", **documented(NewSecret, *UNREADABLE, body=json_body(Rotation, required=False)))
async def rotate_secret(request: Request) -> Response:
    """Give the account a new webhook secret, which only this answer shows.

    Body: `overlap_hours` (0 to 168, default 24), in which the old secret signs beside the new one.
    """
    key = await authenticate(request)
    wanted = await read_model(request, Rotation)

    def rotate(runtime: Runtime) -> RotatedSecret:
        overlap = timedelta(hours=wanted.overlap_hours)
        whose = (SecretOwner.ACCOUNT, key.account_id)
        return rotate_webhook_secret(
            runtime.engine, runtime.keyring, *whose, overlap, lock_seconds=LOCK_SECONDS
        )

    rotated = await change(services_of(request), rotate)
    until = rotated.old_until and timestamp(rotated.old_until)
    body = json.dumps({"webhook_secret": rotated.secret, "old_secrets_until": until})
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")


@router.post(
    "/recover",
    status_code=202,
    **documented(RecoveryState, *UNREADABLE, status=202, body=json_body(RecoveryRange)),
)
async def recover(request: Request) -> Response:
    """Redeliver, in the background, every dead webhook whose event was from `since` to before `until`.

    Webhooks that are pending or delivered are left alone, so asking again delivers nothing twice.
    """
    key = await authenticate(request)
    wanted = await read_model(request, RecoveryRange)

    def start(runtime: Runtime) -> Recovery:
        span = (wanted.since, wanted.until)
        return start_recovery(runtime.engine, key.account_id, *span, lock_seconds=LOCK_SECONDS)

    started = await change(services_of(request), start)
    return Response(_recovery(started), 202, media_type="application/json")


@router.get("/recoveries/{recovery_id}", **documented(RecoveryState, NotFound, counted=False))
async def read_recovery(request: Request, recovery_id: str) -> Response:
    """How far a recovery has come."""
    key = await authenticate(request)
    unknown = NotFound(f"No recovery '{recovery_id[:200]}'")
    try:
        given = UUID(recovery_id)
    except ValueError:
        raise unknown from None
    account_id = key.account_id
    found = await query(services_of(request), lambda one: recoveries.read(one, account_id, given))
    if found is None:
        raise unknown
    return Response(_recovery(found), media_type="application/json")


def _recovery(one: Recovery) -> str:
    body: dict[str, Any] = {
        "id": str(one.id),
        "state": "RUNNING" if one.finished_at is None else "FINISHED",
        "since": timestamp(one.since),
        "until": timestamp(one.until),
        "redelivered": one.redelivered,
        "skipped": one.skipped,
        "created_at": timestamp(one.created_at),
        "finished_at": one.finished_at and timestamp(one.finished_at),
    }
    return json.dumps(body)
