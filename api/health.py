"""`/healthz`: this process answers. `/readyz`: it can accept submits, for which it needs Postgres only."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.services import services_of

router = APIRouter(tags=["Health"])


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """Whether the process serves."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Whether submits can be accepted: 503 while the database is away."""
    await services_of(request).ready()
    return JSONResponse({"status": "ready"})
