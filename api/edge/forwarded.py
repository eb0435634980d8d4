"""Requests that come through a trusted proxy: whose they are, and how many one address may have open.

Behind a proxy all connections have the proxy's address, so here the requests are counted instead.
"""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.edge.shared import Edge
from api.errors import answer_to
from imagequeue.domain.errors import TooManyRequests

_SCHEMES = frozenset({"http", "https"})


class Forwarded:
    """Puts the client's address and scheme into the scope, and limits the open requests of an address.

    It stands outside of everything else, so the limit holds before anything is done.
    """

    def __init__(self, app: ASGIApp, edge: Edge) -> None:
        self._app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        peer = scope.get("client")
        if scope["type"] != "http" or not peer or not self._edge.proxies.trusts(peer[0]):
            await self._app(scope, receive, send)
            return
        scope = self._forwarded(scope, peer[0])
        address, places = scope["client"][0], self._edge.forwarded
        if places.full_for(address):
            error = TooManyRequests("This address has as many open requests as it may have", retry_after=1)
            answer = answer_to(error, scope["app"].state.dialects.at(scope["path"]))
            await answer(scope, receive, send)
            return
        places.enter(address)
        try:
            await self._app(scope, receive, send)
        finally:
            places.leave(address)

    def _forwarded(self, scope: Scope, peer: str) -> Scope:
        headers = Request(scope).headers
        client = self._edge.proxies.client(peer, headers.getlist("x-forwarded-for"))
        schemes = headers.getlist("x-forwarded-proto")[-1:]
        scheme = schemes[0].strip().casefold() if schemes else ""
        return {**scope, "client": (client, 0), "scheme": scheme if scheme in _SCHEMES else scope["scheme"]}
