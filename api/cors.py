"""CORS: scripts of the origins that `IMAGEQUEUE_CORS_ORIGINS` names may call the API; of no others.

Media have a header of their own, because scripts of any page may read them.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

EXPOSED = (
    "X-Request-Id",
    "Idempotent-Replayed",
    "Preference-Applied",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "x-should-retry",
)
"""Headers of answers that scripts may read, besides those that they may always read."""

PREFLIGHT_SECONDS = 600
"""For which browsers remember what is allowed: after that a changed setting holds."""


class Cors:
    """Answers preflights and adds headers for the named origins; leaves everything else alone."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._allowing = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=("*",),
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        await (self._allowing if self._allows(scope) else self._app)(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["path"].startswith("/media/"):
            return False
        return Headers(scope=scope).get("origin") in self._origins
