"""What operators see of the deployments."""

from __future__ import annotations

import json
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from api.auth import require_operator
from api.front import front_of
from imagequeue.lifecycle.report import report_deployments

router = APIRouter(tags=["Operators"])


@router.get("/v2/deployments")
async def read_deployments(request: Request) -> Response:
    """Rate, tokens that are out, next start, breaker, drift and last error of every deployment."""
    await require_operator(request)
    front = front_of(request)
    reports = await front.query(lambda connection: report_deployments(connection, front.runtime.catalog))
    body = json.dumps({"data": [asdict(report) for report in reports]})
    return Response(body, media_type="application/json")
