"""`/v2/webhooks`: the account's own webhook secret."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.auth import authenticate
from api.change import LOCK_SECONDS, change
from api.model_body import read_model
from api.services import services_of
from imagequeue.domain.status_body import timestamp
from imagequeue.lifecycle.operate.webhook_secrets import OVERLAP, RotatedSecret, rotate_webhook_secret
from imagequeue.runtime import Runtime
from imagequeue.store.webhook_secrets import SecretOwner

router = APIRouter(prefix="/v2/webhooks", tags=["Webhooks"])

_DEFAULT_HOURS = OVERLAP / timedelta(hours=1)


class Rotation(BaseModel):
    """The body of a rotation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overlap_hours: Annotated[float, Field(ge=0, le=168, allow_inf_nan=False)] = _DEFAULT_HOURS


@router.post("/rotate-secret")
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
