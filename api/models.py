"""The models of the catalog, in the words of a dialect."""

from __future__ import annotations

from fastapi import Request, Response

from api.auth import authenticate
from api.errors import rendered
from api.services import services_of
from imagequeue.dialects.dialect import ClientRequest, Dialect, ModelsDialect


async def show_models(request: Request, dialect: Dialect, asked: ClientRequest) -> Response:
    """Answer with the models that can be asked for, in the dialect's words."""
    assert isinstance(dialect, ModelsDialect)  # noqa: S101  # the registry has checked it
    await authenticate(request)
    models = services_of(request).runtime.catalog.models
    return rendered(dialect.models(asked, [model for model in models if model.enabled]), {})
