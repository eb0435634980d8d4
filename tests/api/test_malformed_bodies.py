"""Bodies that no document has, at every submit of every dialect: 4xx in its envelope, and nothing is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from imagequeue.dialects.dialect import DialectRoute, Refusal
from tests.api.service import Client, serving
from tests.dialects.examples import NAMES, Example, dialect_named, examples
from tests.media.pictures import bomb

MOST_BYTES = 256 * 1024
READ = [example for example in examples("submit") if "request" in example.expects]
NOT_IMAGES = (b"plain text", b"", b"\x89PNG\r\n\x1a\n", bomb())
NO_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"\xff\xfe\xfd",
    b'{"a": NaN}',
    b"[" * 100_000,
    b'{"a": ' * 20_000,
    b"9" * 5_000,
]
WRONG: list[Any] = [None, 7, True, [], {}, [[]], [{"role": "user"}]]
TEXTS = ["\0", "\ud800", " ", "x\0y"]


@dataclass(frozen=True, slots=True)
class Malformed:
    """A body with its type, and the statuses that may answer it."""

    content: bytes
    content_type: str = "application/json"
    statuses: tuple[int, ...] = (400,)


@pytest.fixture
def client(engine: Engine, database_url: str, tmp_path: Any) -> Iterator[Client]:
    """An account at a server that takes small bodies only."""
    media = f"file://{tmp_path}/media"
    with serving(engine, database_url, storage_url=media, max_body_bytes=MOST_BYTES) as service:
        yield service.client(funds="1000")


def _one_of_each_route(name: str) -> dict[tuple[str, str], Example]:
    mine = [example for example in READ if example.dialect == name]
    return {(example.path, example.submitted.kind): example for example in reversed(mine)}


def _malformed(example: Example) -> Iterator[Malformed]:
    if example.form is not None:
        yield from _malformed_forms(example)
        return
    body = example.body or {}
    yield from (Malformed(content) for content in NO_OBJECTS)
    name = next(iter(body))
    twice = json.dumps(body)[:-1] + f", {json.dumps(name)}: {json.dumps(body[name])}}}"
    yield Malformed(twice.encode())
    yield from (Malformed(json.dumps(body | {field: wrong}).encode()) for field, wrong in _wrong_values(body))
    yield Malformed(json.dumps(body).encode(), "text/plain", (415,))
    yield Malformed(json.dumps(body | {"padding": "x" * MOST_BYTES}).encode(), statuses=(413,))
    yield Malformed(json.dumps(body | {"unheard_of": 1}).encode())


def _wrong_values(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    prompts = [name for name in body if name in {"prompt", "messages", "input"}]
    assert prompts, "every submit has a text"
    for name in prompts:
        yield from ((name, wrong) for wrong in WRONG)
        for text in TEXTS:
            yield name, [{"role": "user", "content": text}] if name == "messages" else text


def _malformed_forms(example: Example) -> Iterator[Malformed]:
    whole, kind = _form(example, b"plain text")
    yield Malformed(whole, "multipart/form-data")
    yield Malformed(whole, kind.replace("boundary=", "boundary=other-"))
    yield from (Malformed(whole[:size], kind) for size in (0, 1, len(whole) // 2, len(whole) - 4))
    yield Malformed(b"{}", kind)
    yield from (Malformed(*_form(example, content)) for content in NOT_IMAGES)
    yield Malformed(*_form(example, b"x" * MOST_BYTES), statuses=(413,))
    yield Malformed(*_form(example, b"x", unheard_of="1"))
    yield from (
        Malformed(*_form(example, b"x", prompt=text)) for text in TEXTS if text.isprintable() is False
    )


def _form(example: Example, image: bytes, **fields: str) -> tuple[bytes, str]:
    given = example.form or {}
    texts = dict(given["fields"]) | fields
    files = [(name, ("a.png", image, "image/png")) for name, all_of in given["files"].items() for _ in all_of]
    encoded = {name: value.encode("utf-8", "surrogatepass") for name, value in texts.items()}
    request = httpx.Request("POST", "http://x", data=encoded, files=files)
    return request.read(), request.headers["content-type"]


def _post(client: Client, path: str, body: Malformed) -> httpx.Response:
    return client.http.post(path, content=body.content, headers={"Content-Type": body.content_type})


def _is_envelope(name: str, answer: httpx.Response) -> bool:
    """Whether the answer has the form of the dialect's errors."""
    told = json.loads(dialect_named(name).refused(Refusal(None, answer.status_code, "title", "x")).body)
    return _keys(told) == _keys(answer.json())


def _keys(value: Any) -> Any:
    return {key: _keys(one) for key, one in value.items()} if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_refused_in_the_dialects_envelope_and_leaves_nothing(name: str, client: Client) -> None:
    before, wallet = client.service.rows(), client.wallet()
    for (path, _), example in _one_of_each_route(name).items():
        for body in _malformed(example):
            answer = _post(client, path, body)
            told = (path, body.content[:200], answer.text[:300])
            assert answer.status_code in body.statuses, told
            assert _is_envelope(name, answer), told
            assert answer.headers["x-should-retry"] == "false", told
    assert client.service.rows() == before
    assert client.wallet() == wallet


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
ROUTES: list[tuple[Example, DialectRoute]] = [(one, one.request().route) for one in READ if one.form is None]


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(chosen=st.sampled_from(ROUTES), data=st.data())
def test_no_value_in_any_field_is_answered_with_a_fault(
    client: Client, chosen: tuple[Example, DialectRoute], data: st.DataObject
) -> None:
    """Each is refused or makes a job: no fault of the server, and no status that is not documented."""
    example, route = chosen
    body = dict(example.body or {})
    names = data.draw(st.lists(st.sampled_from(sorted(body)), min_size=1, max_size=2, unique=True))
    body |= {name: data.draw(JSON) for name in names}
    content = json.dumps(body).encode()
    answer = client.http.post(
        example.path,
        content=content,
        headers={"Content-Type": "application/json", "Prefer": "respond-async"},
    )
    assert answer.status_code in route.responses, (example.path, content, answer.text)
    assert answer.status_code < 500, (example.path, content, answer.text)
