"""Finds the route of a path among the few that its first two segments leave.

The framework tries the pattern of each route in turn, some sixty of them, which took a third of what a submit
costs. The index stands before the routes as one of them; a path that it finds nothing for is tried as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

K = TypeVar("K", bound=BaseRoute)

_FOUND = "imagequeue_route"
_SEGMENTS = 2
"""So many tell `/v2/requests` from `/v2/batches`; more would tell little more."""

Head = tuple[str | None, ...]
"""The first segments of a path or a pattern; None where a pattern takes any, and for names of no pattern."""


class RouteIndex(BaseRoute):
    """The routes of an app by the first segments of their paths, in the order in which they are tried."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = [(route, _heads(route)) for route in routes]
        self._named = {name for _, heads in self._routes for head in heads for name in head}
        self._by_head: dict[Head, list[BaseRoute]] = {}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Try the routes that the path's first segments leave; one that lacks the method is second best."""
        if scope["type"] != "http" or scope.get("root_path"):
            return Match.NONE, {}
        best: tuple[Match, Scope] = (Match.NONE, {})
        for route in self._candidates(scope["path"]):
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                return match, {**child_scope, _FOUND: route}
            if match is Match.PARTIAL and best[0] is Match.NONE:
                best = match, {**child_scope, _FOUND: route}
        return best

    def choose(self, scope: Scope, kind: type[K]) -> K | None:
        """The route that serves a request, with what it needs in the scope, if it is of this kind."""
        match, child_scope = self.matches(scope)
        route = child_scope.get(_FOUND)
        if match is not Match.FULL or not isinstance(route, kind):
            return None
        scope.update(child_scope)
        return route

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route serve that was found."""
        route: BaseRoute = scope[_FOUND]
        await route.handle(scope, receive, send)

    def _candidates(self, path: str) -> list[BaseRoute]:
        """The routes that may match: as many lists as there are pairs of names, whatever is asked for."""
        segments = path.split("/", _SEGMENTS + 1)[1 : _SEGMENTS + 1]
        named = self._named
        head = tuple([segment if segment in named else None for segment in segments])
        found = self._by_head.get(head)
        if found is None:
            found = [route for route, heads in self._routes if any(_meet(one, head) for one in heads)]
            self._by_head[head] = found
        return found


def _heads(route: BaseRoute) -> set[Head]:
    """How the paths of a route begin; several where it stands for a router with routes of its own."""
    return {_head(context.path or "") for context in iter_route_contexts([route])}


def _head(pattern: str) -> Head:
    """The fixed segments at the front; a segment with a parameter takes any, and one with a path the rest."""
    segments = pattern.split("/")[1 : _SEGMENTS + 1]
    rest = next((at for at, segment in enumerate(segments) if ":path}" in segment), None)
    named = [None if "{" in segment else segment for segment in segments[:rest]]
    return tuple(named) + (None,) * (0 if rest is None else _SEGMENTS - rest)


def _meet(pattern: Head, head: Head) -> bool:
    """Whether a path that begins so may match; a path's None is a name that no pattern has."""
    return all(one is None or one == other for one, other in zip(pattern, head, strict=False))
