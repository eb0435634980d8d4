"""The HTTP app: its routes, its errors, its life."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import (
    deliveries,
    deployments,
    dialect_routes,
    errors,
    events,
    files,
    health,
    media,
    metrics,
    requests,
    upstream_callbacks,
    wallet,
    webhook_endpoints,
    webhooks,
)
from api.answer_headers import AnswerHeaders
from api.auth import KeyCache
from api.cors import Cors
from api.head import HeadAsGet
from api.openapi import document, page
from api.services import ApiServices
from api.watch import Watch
from imagequeue import __version__
from imagequeue.dialects.registry import DIALECTS, Dialects
from imagequeue.runtime import Runtime

ROUTED = (
    health,
    deployments,
    metrics,
    requests,
    deliveries,
    events,
    wallet,
    webhooks,
    webhook_endpoints,
    files,
    media,
    upstream_callbacks,
    page,
)
"""The routes that are no dialect's, in the order in which paths are tried; those of the dialects follow."""


def create_app(runtime: Runtime, dialects: Dialects = DIALECTS) -> FastAPI:
    """Make the app. The caller closes the runtime after the app has ended."""
    services, registry = ApiServices(runtime), metrics.make_registry(runtime)
    watch = Watch(services)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        del app
        server = metrics.serve_metrics(runtime, registry)
        try:
            async with services.running(), watch.running():
                yield
        finally:
            if server is not None:
                server.shutdown()
                server.server_close()

    app = FastAPI(
        title="imagequeue",
        version=__version__,
        description="An asynchronous job queue for image generation, with webhooks.",
        servers=[{"url": path}] if (path := runtime.settings.public_path) else None,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.watch = watch
    app.state.key_cache = KeyCache()
    app.state.metrics = registry
    errors.install(app, dialects)
    app.add_middleware(HeadAsGet)
    app.add_middleware(AnswerHeaders)
    if origins := runtime.settings.allowed_origins:
        app.add_middleware(Cors, origins)  # the last one added is the outermost
    for module in ROUTED:
        app.include_router(module.router)
    dialect_routes.mount(app, dialects)
    document.install(app, dialects, dialect_routes.documented_path)
    return app
