"""Routes of operators: the state of the deployments, and the reload of the catalog."""

from __future__ import annotations

import json
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from api.answer_models import DeploymentList, ReloadedCatalog
from api.auth import require_operator
from api.documented import OPERATORS, documented
from api.query import query
from api.services import services_of
from imagequeue.domain.errors import ConfigurationError, InvalidRequest
from imagequeue.lifecycle.operate.reload_catalog import ask_for_reload
from imagequeue.lifecycle.operate.report import report_deployments

router = APIRouter(tags=["Operators"])


@router.get("/v2/deployments", **documented(DeploymentList, needs=OPERATORS))
async def read_deployments(request: Request) -> Response:
    """Rate, tokens that are out, next start, breaker, drift and last error of every deployment."""
    await require_operator(request)
    services = services_of(request)
    reports = await query(
        services, lambda connection: report_deployments(connection, services.runtime.catalog)
    )
    body = json.dumps({"data": [asdict(report) for report in reports]})
    return Response(body, media_type="application/json")


@router.post(
    "/v2/catalog/reload",
    status_code=202,
    **documented(ReloadedCatalog, InvalidRequest, status=202, needs=OPERATORS),
)
async def reload_catalog(request: Request) -> Response:
    """Check the catalog file and ask every process to take it up; calls in flight are untouched."""
    await require_operator(request)
    runtime = services_of(request).runtime
    try:
        catalog = await query(services_of(request), lambda _: ask_for_reload(runtime))
    except ConfigurationError as error:
        raise InvalidRequest(error.message) from error
    body = json.dumps({"models": len(catalog.models), "deployments": len(catalog.deployments)})
    return Response(body, 202, media_type="application/json")
