"""The models of the catalog: in the words of a dialect, and `GET /v1/models` in OpenAI's format."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.auth import authenticate
from api.errors import rendered
from api.services import services_of
from imagequeue.dialects.dialect import ClientRequest, Dialect, ModelsDialect
from imagequeue.domain.catalog import Model
from imagequeue.domain.money import plain

router = APIRouter(tags=["Models"])


@router.get("/v1/models")
async def list_models(request: Request) -> JSONResponse:
    """The models that can be asked for, with their prices per image."""
    await authenticate(request)
    models = services_of(request).runtime.catalog.models
    return JSONResponse({"object": "list", "data": [_entry(model) for model in models if model.enabled]})


async def show_models(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """Answer with the models that can be asked for, in the dialect's words."""
    assert isinstance(dialect, ModelsDialect)  # noqa: S101  # the registry has checked it
    await authenticate(request)
    models = services_of(request).runtime.catalog.models
    return rendered(dialect.models(asked, [model for model in models if model.enabled]), {})


def _entry(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": "imagequeue",
        "aliases": list(model.aliases),
        "operations": list(model.operations),
        "price_usd": plain(model.price_usd),
    }
