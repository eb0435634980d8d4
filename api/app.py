"""The HTTP app: its routes, its errors, its life."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp, Receive, Scope, Send

from api import (
    backfill_results,
    backfills,
    batch_estimates,
    batches,
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
from api.direct_routes import DirectServing
from api.edge.addresses import TrustedProxies
from api.edge.forwarded import Forwarded
from api.edge.limits import EdgeLimits
from api.edge.shared import Edge
from api.failed_keys import FailedKeys
from api.head import HeadAsGet
from api.openapi import document, page
from api.route_index import RouteIndex
from api.services import ApiServices
from api.shares import HeldShares, Shares
from api.watch import Watch
from imagequeue import __version__
from imagequeue.dialects.registry import DIALECTS, Dialects
from imagequeue.runtime import Runtime
from imagequeue.settings import Settings

_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""The framework would look for a provider at each request."""

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
    batch_estimates,
    batches,
    backfills,
    backfill_results,
    media,
    upstream_callbacks,
    page,
)
"""The routes that are no dialect's, in the order in which paths are tried; those of the dialects follow."""


def create_app(runtime: Runtime, dialects: Dialects = DIALECTS, limits: EdgeLimits | None = None) -> FastAPI:
    """Make the app. The caller closes the runtime after the app has ended.

    `limits` are those of `api/edge`, with the numbers that an operator may set unless given.
    """
    services, registry = ApiServices(runtime), metrics.make_registry(runtime)
    watch = Watch(services)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        del app
        with metrics.serving_metrics(runtime, registry):
            async with services.running(), watch.running():
                yield

    app = _new_app(runtime.settings, lifespan)
    app.state.services = services
    app.state.watch = watch
    app.state.key_cache = KeyCache()
    app.state.failed_keys = FailedKeys()
    app.state.metrics = registry
    limits = limits or EdgeLimits.of(runtime.settings)
    app.state.shares = Shares(limits.connections)
    app.state.edge = _edge(runtime.settings, dialects, limits)
    errors.install(app, dialects)
    _add_middleware(app)
    # The routes as they are, because the framework searches an included router slowly.
    app.router.routes.extend(route for module in ROUTED for route in module.router.routes)
    dialect_routes.mount(app, dialects)
    app.state.route_index = RouteIndex(app.router.routes)
    app.router.routes.insert(0, app.state.route_index)
    document.install(app, dialects, dialect_routes.documented_path)
    return app


class Api(FastAPI):
    """The framework's app, behind what stands before the framework."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve. The framework would ask for telemetry first, and for its layers."""
        if scope["type"] != "http" or self.middleware_stack is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """The layers, the outermost last. One that would do nothing with these settings is left out."""
        settings: Settings = self.state.services.runtime.settings
        app: ASGIApp = DirectServing(super().build_middleware_stack(), self.state.route_index)
        if origins := settings.allowed_origins:
            app = Cors(app, origins)
        edge: Edge = self.state.edge
        return Forwarded(app, edge) if edge.proxies.networks else app


def _new_app(settings: Settings, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    return Api(
        title="imagequeue",
        version=__version__,
        description="An asynchronous job queue for image generation, with webhooks.",
        servers=[{"url": path}] if (path := settings.public_path) else None,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )


def _edge(settings: Settings, dialects: Dialects, limits: EdgeLimits) -> Edge:
    proxies = TrustedProxies.parse(settings.trusted_proxies)
    return Edge(limits, proxies, partial(errors.tell_refusal, dialects))


def _add_middleware(app: FastAPI) -> None:
    """Each one is outside of those before it."""
    app.add_middleware(HeldShares)
    app.add_middleware(HeadAsGet)
    app.add_middleware(AnswerHeaders)
