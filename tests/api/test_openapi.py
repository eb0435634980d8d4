"""The OpenAPI document says what the API does: by examples, and by requests that schemathesis makes up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import schemathesis
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis import checks as shared_checks
from schemathesis.specs.openapi import checks as openapi_checks
from sqlalchemy import Engine

from api.app import create_app
from api.errors import ANSWERS
from api.openapi.headers import SECURITY
from api.openapi.page import POLICY
from api.openapi.refusals import error_model
from imagequeue.dialects.dialect import BodyKind, Dialect, DialectRoute
from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain import errors
from tests.api.service import Client, Service, serving
from tests.api.submits import PICTURE, catalog_of_all
from tests.builders import MODEL, runtime

pytestmark = pytest.mark.long
TYPES: dict[str, BodyKind] = {"application/json": "json", "multipart/form-data": "form"}
SUBMITS = [(dialect, route) for dialect, route in DIALECTS.routes() if route.verb == "submit"]
MOST_EXAMPLES = 12
"""For each route and each way of making requests up: the whole file takes well under a minute."""

Operation = dict[str, Any]


@pytest.fixture
def service(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Service]:
    """A server on which nothing serves jobs, so that whoever waits has waited for long enough at once."""
    given: dict[str, Any] = {"storage_url": f"file://{tmp_path}/media", "wait_seconds": 0.05}
    with serving(engine, database_url, of=catalog_of_all(), **given) as service:
        yield service


def document(client: Client) -> dict[str, Any]:
    return client.http.get("/openapi.json").json()


def operations(shown: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, item in shown["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def shown_path(route: DialectRoute) -> str:
    """The route's path as the document has it: a name that stands twice has another one the second time."""
    names = re.findall(r"\{(\w+)(?::path)?\}", route.path)
    path = route.path.replace(":path}", "}")
    for name in {name for name in names if names.count(name) > 1}:
        first, _, rest = path.partition(f"{{{name}}}")
        path = f"{first}{{{name}}}" + rest.replace(f"{{{name}}}", f"{{same_{name}}}")
    return path


def test_every_route_is_in_the_document(engine: Engine, database_url: str) -> None:
    own = runtime(engine, database_url)
    app = create_app(own)
    own.redis.close()
    served = {
        (re.sub(r":\w+\}", "}", route.path or ""), method.lower())
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
    }
    pages = {path for path, _ in served if path.startswith(("/docs", "/openapi.json"))}
    shown = {(path, method) for path, method, _ in operations(app.openapi())}
    assert {(path, method) for path, method in served if method != "head" and path not in pages} == shown


def test_every_answer_has_a_schema_and_every_error_its_envelope(client: Client) -> None:
    shown = document(client)
    for path, method, operation in operations(shown):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["tags"], where
        assert {"500"} <= set(operation["responses"]), where
        model = error_model(DIALECTS.at(path))
        for status, response in operation["responses"].items():
            assert response["description"], f"{where} {status}"
            if status in {"204", "302", "304"}:
                continue
            for content in response["content"].values():
                assert content["schema"], f"{where} {status}"
                assert content["schema"] != {"type": "object"}, f"{where} {status}"
            if int(status) >= 400:
                told = response["content"]["application/json"]
                assert told["schema"] == {"$ref": f"#/components/schemas/{model.__name__}"}, where
                assert told["examples"], f"{where} {status}"
                for example in told["examples"].values():
                    model.model_validate(example["value"])


@pytest.mark.parametrize(("dialect", "route"), SUBMITS, ids=[route.path for _, route in SUBMITS])
def test_a_submit_shows_all_that_it_takes(dialect: Dialect, route: DialectRoute, client: Client) -> None:
    shown = document(client)
    operation = shown["paths"][shown_path(route)]["post"]
    headers = [one["name"] for one in operation["parameters"] if one["in"] == "header"]
    assert headers == ["X-Webhook-URL", "Idempotency-Key", "X-Lane", "X-Start-By", "X-Finish-By", "Prefer"]
    assert {TYPES[kind] for kind in operation["requestBody"]["content"]} == set(route.bodies)
    assert operation["security"] == SECURITY
    told = {name for response in operation["responses"].values() for name in response["headers"]}
    assert {"X-Request-Id", "Retry-After", "x-should-retry", "Idempotent-Replayed", "RateLimit"} <= told
    kinds = [errors.InvalidRequest, errors.InsufficientBalance, errors.TooLarge, errors.IdempotencyMismatch]
    assert {str(ANSWERS[kind].status) for kind in kinds} <= set(operation["responses"])
    for status, model in route.responses.items():
        if str(status) not in operation["responses"]:
            assert status >= 400, "an error that cannot happen here"
            continue
        content = operation["responses"][str(status)]["content"]["application/json"]
        for example in content["examples"].values():
            model.model_validate(example["value"])


@pytest.mark.parametrize(("dialect", "route"), SUBMITS, ids=[route.path for _, route in SUBMITS])
def test_an_example_of_a_body_becomes_a_job(dialect: Dialect, route: DialectRoute, client: Client) -> None:
    shown = document(client)["components"]["schemas"]
    edits = route.path.startswith("/{model_id}")
    for kind, models in route.bodies.items():
        for model in models:
            for example in shown[model.__name__]["examples"]:
                label = f"{MODEL}-edit" if edits and "image_urls" in example else MODEL
                path = re.sub(r"\{\w+(:path)?\}", label, route.path)
                answer = _posted(client, path, kind, example, shown[model.__name__])
                assert answer.status_code == 202, (dialect.name, answer.text)


def _posted(client: Client, path: str, kind: BodyKind, example: Any, schema: Any) -> Any:
    headers = {"Prefer": "respond-async"}
    if kind == "json":
        return client.http.post(path, json=example, headers=headers)
    assert "image" in schema["properties"], "a form has files, and the document says which"
    files = {"image": ("image.png", PICTURE, "image/png")}
    return client.http.post(path, data=example, files=files, headers=headers)


def test_keys_are_needed_where_the_document_says_so(service: Service) -> None:
    client = service.client()
    shown = document(client)
    assert {one["type"] for one in shown["components"]["securitySchemes"].values()} == {"http", "apiKey"}
    del client.http.headers["Ocp-Apim-Subscription-Key"]
    for path, method, operation in operations(shown):
        answer = client.http.request(method, re.sub(r"\{\w+\}", "x", path))
        needs_key = operation.get("security") != []
        assert (answer.status_code == 401) is needs_key, (path, answer.text)
        for name in ("api-key", "Ocp-Apim-Subscription-Key", "Authorization"):
            given = f"Bearer {client.key}" if name == "Authorization" else client.key
            known = client.http.request(method, re.sub(r"\{\w+\}", "x", path), headers={name: given})
            assert known.status_code != 401, (path, name)


def test_the_page_loads_nothing_from_another_host(service: Service) -> None:
    client = service.client()
    del client.http.headers["Ocp-Apim-Subscription-Key"]
    page = client.http.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert loaded == ["data:,", "docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/start.js"]
    for path in loaded[1:]:
        answer = client.http.get(f"/{path}")
        assert (answer.status_code, answer.headers["content-security-policy"]) == (200, POLICY)
    assert "//" not in page.text
    assert "//" not in client.http.get("/docs/start.js").text
    assert "validatorUrl: null" in client.http.get("/docs/start.js").text
    sources = re.findall(r"(?:https?:|\*|[a-z0-9-]+\.[a-z]+)", POLICY)
    assert (page.headers["content-security-policy"], sources) == (POLICY, [])
    assert client.http.get("/docs/other.js").status_code == 404
    assert json.loads(client.http.get("/openapi.json").text)["openapi"].startswith("3.1")


@pytest.mark.parametrize("path", ["", "/images"])
def test_the_page_works_below_the_path_of_the_public_url(
    engine: Engine, database_url: str, path: str
) -> None:
    """A proxy in front takes the path away; what the page loads and calls must lead through it again."""
    with serving(engine, database_url, public_url=f"https://queue.example.com{path}/") as service:
        page, start = (httpx.get(f"{service.url}/docs{name}").text for name in ("", "/start.js"))
        document = httpx.get(f"{service.url}/openapi.json").json()
    shown = f"https://queue.example.com{path}/docs"
    links = re.findall(r'(?:src|href)="(docs[^"]*)"', page) + re.findall(r'url: "([^"]*)"', start)
    assert {urljoin(shown, link) for link in links} == {
        f"https://queue.example.com{path}/{name}"
        for name in ("docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/start.js", "openapi.json")
    }
    assert document.get("servers") == ([{"url": path}] if path else None)


SHARED: Any = shared_checks
OPENAPI: Any = openapi_checks
CHECKS: list[Any] = [
    OPENAPI.status_code_conformance,
    OPENAPI.content_type_conformance,
    OPENAPI.response_headers_conformance,
    OPENAPI.response_schema_conformance,
]
WAITED = 504


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_made_up_requests_are_answered_as_documented(service: Service, mode: GenerationMode) -> None:
    """No 5xx, no undocumented status, and bodies and headers as the schemas say."""
    client = service.client(funds="1000000", operator=True)
    request_id = client.generate().json()["request_id"]
    schema: Any = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode.is_negative and not _can_be_wrong(operation.definition.raw):
            continue
        ask_for(operation.as_strategy(generation_mode=mode), client, mode)
    assert client.status(request_id).status_code == 200


def _can_be_wrong(operation: Operation) -> bool:
    """Whether a request may have anything but a path, in which every text is right."""
    return "requestBody" in operation or any(one["in"] != "path" for one in operation.get("parameters", []))


def ask_for(cases: SearchStrategy[Any], client: Client, mode: GenerationMode) -> None:
    """Send some of the cases of one route, and check the answers."""
    checks: list[Any] = [*CHECKS, *([OPENAPI.negative_data_rejection] if mode.is_negative else [])]
    key = {
        "Ocp-Apim-Subscription-Key": client.key
    }  # it counts before keys in other headers, which are made up

    @settings(
        max_examples=MOST_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(cases)
    def ask(case: Any) -> None:
        response = case.call(headers=key)
        more: list[Any] = [] if response.status_code == WAITED else [SHARED.not_a_server_error]
        case.validate_response(response, checks=[*checks, *more], headers=key)

    ask()
