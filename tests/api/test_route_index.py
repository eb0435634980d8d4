"""The index finds the route that trying one after the other would find."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import Engine
from starlette.routing import BaseRoute, Match

from api.app import create_app
from api.route_index import RouteIndex
from imagequeue.dialects.registry import DIALECTS, Dialects
from tests.builders import runtime
from tests.dialects.with_second import WITH_SECOND

METHODS = ("GET", "POST", "DELETE", "PATCH")
FILLED = ("x", "v1", "images", "request", "a-request", "x/y", "é", "%2F")
"""What may stand for a parameter: names of other routes too."""
OTHERS = (
    "/",
    "",
    "//",
    "/v1",
    "/v1/",
    "/v2/requests/",
    "/nothing/at/all",
    "/v1/images/generations/",
    "/x/v1",
)


def _paths(app: FastAPI) -> Iterator[str]:
    yield from OTHERS
    for context in iter_route_contexts(app.routes):
        for filled in FILLED:
            path = context.path or ""
            yield re.sub(r"\{[^}]+\}", filled, path)
            yield re.sub(r"\{[^}]+\}", filled, path).rpartition("/")[0]


def _scope(method: str, path: str) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}


def _tried(routes: list[BaseRoute], method: str, path: str) -> tuple[Match, object]:
    """As the framework does it: the first that matches, else the first that lacks only the method."""
    partial: tuple[Match, object] = (Match.NONE, None)
    for route in routes:
        match, child = route.matches(_scope(method, path))
        if match is Match.FULL:
            return match, child.get("endpoint", route)
        if match is Match.PARTIAL and partial[0] is Match.NONE:
            partial = match, child.get("endpoint", route)
    return partial


@pytest.mark.parametrize("dialects", [DIALECTS, WITH_SECOND], ids=["installed", "with a second one"])
def test_the_index_finds_what_the_framework_finds(
    engine: Engine, database_url: str, dialects: Dialects
) -> None:
    own = runtime(engine, database_url)
    app = create_app(own, dialects)
    own.redis.close()
    index, *routes = app.router.routes
    assert isinstance(index, RouteIndex)
    paths = set(_paths(app))
    assert len(paths) > 300
    found = {Match.FULL: 0, Match.PARTIAL: 0, Match.NONE: 0}
    for method in METHODS:
        for path in sorted(paths):
            match, expected = _tried(routes, method, path)
            at, child = index.matches(_scope(method, path))
            assert at is match, f"{method} {path}"
            assert at is Match.NONE or child.get("endpoint", expected) == expected, f"{method} {path}"
            found[match] += 1
    assert min(found.values()) > 50, "each kind was seen"


def test_a_mounted_app_is_searched_by_the_framework(engine: Engine, database_url: str) -> None:
    own = runtime(engine, database_url)
    index = create_app(own).router.routes[0]
    own.redis.close()
    assert index.matches(_scope("GET", "/healthz"))[0] is Match.FULL
    assert index.matches({**_scope("GET", "/below/healthz"), "root_path": "/below"})[0] is Match.NONE
