"""The order in which the app tries its routes: of two that match one path, the more exact one is first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import Engine

from api.app import create_app
from api.dialect_routes import mounted_path
from imagequeue.dialects.dialect import DialectRoute
from imagequeue.dialects.registry import DIALECTS, Dialects
from tests.api.second import IMAGES
from tests.api.service import Client
from tests.builders import runtime
from tests.dialects.with_second import WITH_SECOND

_FIXED, _PARTLY, _PARAMETER, _REST = range(4)


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route, in the order in which they are tried."""
    found = [(route.path or "", route.methods or set[str]()) for route in iter_route_contexts(app.routes)]
    return [(method, path) for path, methods in found for method in sorted(methods)]


def hidden(tried: list[tuple[str, str]]) -> Iterator[str]:
    """Pairs that match one path and of which the less exact one is tried first."""
    for (method, first), (other, second) in combinations(tried, 2):
        if method == other and _meet(_segments(first), _segments(second)):
            before, after = _exactness(first), _exactness(second)
            if before > after or first == second:
                yield f"{method} {first} hides {second}"


def _segments(path: str) -> list[str]:
    return path.strip("/").split("/")


def _meet(one: list[str], other: list[str]) -> bool:
    """Whether some path matches both."""
    if not one or not other:
        return not one and not other
    if _kind(one[0]) is _REST or _kind(other[0]) is _REST:
        return True
    return _segments_meet(one[0], other[0]) and _meet(one[1:], other[1:])


def _segments_meet(one: str, other: str) -> bool:
    """By their texts before and after parameters: enough for segments with one parameter each."""
    if _kind(one) is _FIXED and _kind(other) is _FIXED:
        return one == other
    if _kind(other) is _FIXED:
        one, other = other, one
    if _kind(one) is _FIXED:
        return re.fullmatch(re.sub(r"\\\{\w+\\\}", ".+", re.escape(other)), one) is not None
    heads, tails = (
        [text.partition("{")[0] for text in (one, other)],
        [text.rpartition("}")[2] for text in (one, other)],
    )
    return (heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])) and (
        tails[0].endswith(tails[1]) or tails[1].endswith(tails[0])
    )


def _kind(segment: str) -> int:
    if "{" not in segment:
        return _FIXED
    if ":path}" in segment:
        return _REST
    return _PARAMETER if re.fullmatch(r"\{\w+\}", segment) else _PARTLY


def _exactness(path: str) -> list[int]:
    return [_kind(segment) for segment in _segments(path)]


@pytest.mark.parametrize("dialects", [DIALECTS, WITH_SECOND], ids=["installed", "with a second one"])
def test_no_route_hides_another(engine: Engine, database_url: str, dialects: Dialects) -> None:
    own = runtime(engine, database_url)
    tried = routes(create_app(own, dialects))
    own.redis.close()
    assert len(tried) > 15
    assert tried[-1] == ("POST", "/{model_id}/v1/{same_model_id}-request")
    assert list(hidden(tried)) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/{model}/v1/{same}-request", "/fal/v1/{x}-request"),
        ("/{model}/v1/{same}-request", "/api/v1/images-request"),
        ("/v1/{x}", "/v1/images"),
        ("/v1/{rest:path}", "/v1/images/edits"),
        ("/v1/images", "/v1/images"),
        ("/jobs/{id}/status", "/jobs/status/{id}"),
    ],
)
def test_a_hidden_route_is_found(first: str, second: str) -> None:
    assert list(hidden([("POST", first), ("POST", second)]))
    assert not list(hidden([("GET", first), ("POST", second)]))
    assert first == second or not list(hidden([("POST", second), ("POST", first)]))


def test_a_name_that_stands_twice_is_mounted_under_two_names() -> None:
    twice = DialectRoute("POST", "/{a}/{b}/{a}-x/{c:path}", "submit", "", "", {})
    assert mounted_path(twice) == "/{a}/{b}/{same_a}-x/{c:path}"


def test_the_documentation_shows_its_routes(second: Client) -> None:
    paths = second.http.get("/openapi.json").json()["paths"]
    (route,) = paths[IMAGES].values()
    assert set(route["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert {"202", "400", "401", "402", "413"} <= set(route["responses"])
    assert [one["name"] for one in paths[f"{IMAGES}/{{request_id}}"]["get"]["parameters"]] == ["request_id"]


def test_every_reference_of_the_documentation_leads_somewhere(second: Client) -> None:
    document = second.http.get("/openapi.json").json()
    found = set(re.findall(r'"\$ref": ?"#/([^"]+)"', second.http.get("/openapi.json").text))
    assert found
    for reference in found:
        place = document
        for name in reference.split("/"):
            place = place[name]
        assert place
