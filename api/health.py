"""`/healthz`: this process answers. `/readyz`: it can accept submits, for which it needs Postgres only."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy import text

from api.answer_models import Health, Readiness
from api.coalescer import coalesced
from api.documented import documented
from api.services import ApiServices, services_of
from imagequeue.domain.errors import ImagequeueError, TooManyRequests

_CAN_WRITE = text("SELECT FROM jobs LIMIT 0 FOR KEY SHARE")
"""Locks no row, and fails without the tables or on a server that takes no writes."""

router = APIRouter(tags=["Health"])


@router.get("/healthz", **documented(Health, needs=(), always=(ImagequeueError, TooManyRequests)))
async def healthz() -> JSONResponse:
    """Whether the process serves."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", **documented(Readiness, needs=()))
async def readyz(request: Request) -> JSONResponse:
    """Whether submits can be accepted: 503 while the database is away, or takes no writes."""
    await ask_database(services_of(request), None)
    return JSONResponse({"status": "ready"})


@coalesced(threads=1)
def ask_database(services: ApiServices, asked: list[None]) -> Sequence[None]:
    """Ask the database whether submits can be accepted: whether it has the tables and takes writes."""
    with services.runtime.engine.begin() as connection:
        connection.execute(_CAN_WRITE)
    return asked
