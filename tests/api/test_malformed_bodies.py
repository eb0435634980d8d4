"""Bodies that are no request, for every submit route of every dialect.

Each is refused with a 4xx in the envelope of its dialect, and leaves no job, no hold and no input image. The
routes come from the registry and the bodies from the examples of the dialects, so a new dialect is among them
without an edit here.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from imagequeue.dialects.dialect import Refusal
from imagequeue.domain.errors import InvalidRequest
from tests.api.service import Client, Service, serving
from tests.api.submits import BOUNDARY, NO_PICTURE, PICTURE, Submit, catalog_of_all, form, part, submits
from tests.builders import count
from tests.media.pictures import bomb

MOST_BYTES = 64 * 1024
NOTHING = {
    "jobs": 0,
    "job_requests": 0,
    "events": 0,
    "ledger_entries": 1,
    "idempotency_keys": 0,
    "input_images": 0,
}
"""Only the deposit."""
AT_ONCE = {"Prefer": "respond-async"}
"""So that a body that turns out to be a request does not wait for its images."""
SUBMITS = submits()

Malformed = Iterator[tuple[str, bytes, dict[str, str]]]
"""What is wrong, a body, and headers that differ from those of a right request."""


@pytest.fixture
def service(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Service]:
    given: dict[str, Any] = {"storage_url": f"file://{tmp_path}/media", "max_body_bytes": MOST_BYTES}
    with serving(engine, database_url, of=catalog_of_all(), **given) as service:
        yield service


def left_behind(engine: Engine, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Rows by table, and stored files."""
    files = [str(path) for path in (folder / "media").rglob("*") if path.is_file()]
    return {table: count(engine, table) for table in NOTHING}, files


def malformed(submit: Submit) -> Malformed:
    """Every kind of body that is none."""
    yield from _of_both_kinds(submit)
    if submit.kind == "json":
        yield from _no_json(submit)
        yield from _no_object_with_these_fields(submit)
    else:
        yield from _no_form(submit)
    if submit.image_count:
        yield "no image", submit.with_images(NO_PICTURE), {}
        good = [PICTURE] * (submit.image_count - 1)
        yield "the last image is none", submit.with_images(*good, NO_PICTURE), {}
        yield "half an image", submit.with_images(PICTURE[: len(PICTURE) // 2]), {}
        yield "an empty image", submit.with_images(b""), {}
        yield "an image bomb", submit.with_images(bomb()), {}
        yield "an SVG", submit.with_images(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), {}


def _of_both_kinds(submit: Submit) -> Malformed:
    yield "nothing", b"", {}
    yield "another type", submit.body(), {"Content-Type": "text/plain"}
    yield "no known type", submit.body(), {"Content-Type": "\xff/\xfe"}
    yield "compressed", submit.body(), {"Content-Encoding": "gzip"}
    yield "too large", submit.body(prompt="x" * MOST_BYTES), {}
    yield "an unknown field", submit.body(unheard_of="x"), {}


def _no_json(submit: Submit) -> Malformed:
    whole = submit.body()
    yield "broken off", whole[:-1], {}
    yield "text behind it", whole + b"}", {}
    yield "UTF-16", whole.decode().encode("utf-16"), {}
    yield "not UTF-8", whole.replace(b": ", b': "\xff\xfe" ', 1), {}
    yield (
        "bytes of no character in a text",
        json.dumps({**submit.fields, "user": "@"}).encode().replace(b'"@"', b'"\xed\xa0\x80"'),
        {},
    )
    yield "a raw NUL", whole.replace(b": ", b": \0", 1), {}
    yield "not a number", b'{"n": NaN}', {}
    yield "a number without an end", b'{"n": ' + b"1" * 5000 + b"}", {}
    for value in (b"null", b"1", b'"text"', b"[]", b"[{}]"):
        yield f"no object but {value.decode()}", value, {}
    for depth in (100, 300, 500, 700, 900, 990, 20_000):
        deep = b'{"prompt": ' + b"[" * depth + b"]" * depth + b"}"
        yield f"lists in lists, {depth} deep", deep, {"Idempotency-Key": f"deep {depth}"}
        yield f"objects in objects, {depth} deep", b'{"a": ' * depth + b"1" + b"}" * depth, {}
    yield "lists that do not end", b"[" * MOST_BYTES, {}


def _no_object_with_these_fields(submit: Submit) -> Malformed:
    for name in submit.fields:
        value = json.dumps(submit.fields[name])
        twice = f'{submit.body().decode()[:-1]}, "{name}": {value}}}'.encode()
        yield f"{name} twice", twice, {}
        yield f"{name} is an object", submit.body(**{name: {"a": [None]}}), {}
        yield f"{name} is a list of numbers", submit.body(**{name: [1, 2]}), {}
    yield "a field twice within", submit.body().replace(b"{", b'{"a": {"b": 1, "b": 1}, ', 1), {}
    field = "prompt" if "prompt" in submit.fields else next(iter(submit.fields))
    for spoiled in ("\0", "a\0b", "\ud800", "a\udfffb", "", "  "):
        yield f"{field} is {spoiled!r}", submit.body(**{field: _told(submit, field, spoiled)}), {}


def _told(submit: Submit, field: str, words: str) -> Any:
    """The words where the field has its text: it may be one, or a list of messages."""
    if isinstance(submit.fields[field], str):
        return words
    return [{"role": "user", "content": words}]


def _no_form(submit: Submit) -> Malformed:
    whole, fields, files = submit.body(), submit.fields, submit.files
    first = next(iter(fields))
    yield "no boundary", whole, {"Content-Type": "multipart/form-data"}
    yield "an empty boundary", whole, {"Content-Type": 'multipart/form-data; boundary=""'}
    yield "another boundary", whole, {"Content-Type": "multipart/form-data; boundary=another"}
    yield "JSON that says it is a form", json.dumps(fields).encode(), {}
    yield "a form that breaks off", form(fields, files, end=False), {}
    yield "a form that breaks off in a part", whole[: len(whole) // 2], {}
    yield "a part without a name", part("", b"x") + whole, {}
    yield "a part without headers", f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + whole, {}
    yield "a field twice", part(f'name="{first}"', b"x") + whole, {}
    yield "a text that is not UTF-8", submit.body(prompt=b"\xff\xfe"), {}
    yield "a name that is not UTF-8", part('name="\udcff"', b"x") + whole, {}
    yield "a NUL", submit.body(prompt=b"a\0b"), {}
    yield "half a character", submit.body(prompt="a\ud800"), {}
    yield "blank", submit.body(prompt="  "), {}
    yield "no file", form(fields, {}), {}
    yield "an unknown file", form(fields, {**files, "unheard_of": [PICTURE]}), {}
    yield "more parts than fields", part('name="x"', b"x") * 100 + whole, {}
    yield "a file where a text belongs", form({}, {**files, first: [b"x"]}), {}
    yield (
        "base64 in a part",
        whole.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1),
        {},
    )


def post(client: Client, submit: Submit, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
    told = {"Content-Type": submit.content_type, **AT_ONCE, **headers}
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
    return client.http.post(submit.path, content=content, headers=encoded)


def outline(value: Any) -> Any:
    """Which fields an envelope has, however deep."""
    return {name: outline(one) for name, one in value.items()} if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]


def complaint(submit: Submit, answer: httpx.Response) -> str | None:
    """What is wrong with an answer that should be a refusal; None: it is one."""
    if not 400 <= answer.status_code < 500:
        return f"status {answer.status_code}"
    if answer.headers["content-type"] != "application/json":
        return f"a body of the type {answer.headers['content-type']}"
    told = submit.dialect.refused(Refusal(InvalidRequest, 400, "Bad Request", "x"))
    if outline(answer.json()) != outline(json.loads(told.body)):
        return f"another envelope: {answer.text[:200]}"
    if answer.headers.get("x-should-retry") != "false":
        return "the client is told to try again"
    return None


@pytest.mark.parametrize("submit", SUBMITS, ids=str)
def test_a_body_that_is_none_is_refused_and_leaves_nothing(
    submit: Submit, service: Service, tmp_path: Path
) -> None:
    client = service.client()
    wrong = {
        what: found
        for what, content, headers in malformed(submit)
        if (found := complaint(submit, post(client, submit, content, headers)))
    }
    assert wrong == {}
    assert left_behind(service.engine, tmp_path) == (NOTHING, [])
    right = post(client, submit, submit.body(), {})
    assert right.status_code == 202, right.text


def test_an_upload_that_breaks_off_leaves_nothing(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """The connection closes in the middle, with a Content-Length that promised more, or in the last chunk.

    Once the server has ended, it serves no request any more.
    """
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media") as service:
        client = service.client()
        for submit in SUBMITS:
            content = submit.body()
            for sent in (b"", content[: len(content) // 2], content[:-1], content):
                _send_and_close(service, client, submit, sent, f"Content-Length: {len(content) + 1}")
            chunk = f"{len(content):x}\r\n".encode() + content
            _send_and_close(service, client, submit, chunk, "Transfer-Encoding: chunked")
        assert client.wallet()["held"] == "0"
    assert left_behind(engine, tmp_path) == (NOTHING, [])


def _send_and_close(service: Service, client: Client, submit: Submit, content: bytes, length: str) -> None:
    url = httpx.URL(service.url)
    head = (
        f"POST {submit.path} HTTP/1.1\r\nHost: {url.host}\r\napi-key: {client.key}\r\n"
        f"Content-Type: {submit.content_type}\r\nPrefer: respond-async\r\n{length}\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(head.encode() + content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def spoiled_bodies(draw: st.DrawFn) -> tuple[Submit, bytes]:
    """A right body with some fields replaced by any JSON, or with some of its bytes changed."""
    submit = draw(st.sampled_from(SUBMITS))
    if submit.kind == "json" and draw(st.booleans()):
        names = st.sampled_from([*submit.fields, "unheard of"])
        changed = draw(st.dictionaries(names, JSON, min_size=1, max_size=3))
        return submit, submit.body(**changed)
    content = bytearray(submit.body())
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.integers(0, 6)))
        content[begin:end] = draw(st.binary(max_size=6) | st.just(bytes(content[begin:end]) * 2))
    return submit, bytes(content)


def test_whatever_is_sent_is_accepted_or_refused_in_its_dialect(service: Service, tmp_path: Path) -> None:
    """A body that changes by chance: it becomes one job, or it is refused and leaves nothing."""
    client, accepted = service.client(funds="1000000"), set[str]()

    @settings(
        max_examples=400,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(spoiled_bodies())
    def send(spoiled: tuple[Submit, bytes]) -> None:
        submit, content = spoiled
        answer = post(client, submit, content, {})
        if answer.status_code == 202:
            accepted.add(answer.json()["request_id"])
        else:
            assert complaint(submit, answer) is None

    send()
    rows, files = left_behind(service.engine, tmp_path)
    assert accepted
    assert (rows["jobs"], rows["ledger_entries"]) == (len(accepted), 1 + len(accepted))
    assert rows["input_images"] == len(files) <= named_images(service.engine)


def named_images(engine: Engine) -> int:
    """How many different stored images the jobs name."""
    with engine.connect() as connection:
        named = connection.execute(text("SELECT parameters FROM job_requests")).scalars().all()
    keys = {key for one in named for key in [*one.get("input_images", []), one.get("mask")] if key}
    return len({key for key in keys if not key.startswith("http")})
