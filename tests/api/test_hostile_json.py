"""JSON that costs its reader more than its sender: refused in the dialect's envelope, and nothing is left.

How long others wait for each of these bodies is printed by `make bench ROWS=bodies`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from api import json_body
from api.json_body import (
    ESCAPED_BYTES,
    LONG_BYTES,
    MOST_FIELDS,
    MOST_VALUES,
    SLICE_BYTES,
    json_object,
    string_parts,
)
from chaos.hostile.json_bodies import hostile_bodies
from imagequeue.domain.errors import InvalidRequest
from tests.api.service import Client, Service, serving
from tests.api.submits import Submit, catalog_of_all, submits
from tests.api.test_malformed_bodies import NOTHING, complaint, left_behind, post

SIZE = 300 * 1024
JSON_SUBMITS = [submit for submit in submits() if submit.kind == "json"]
OTHER_ROUTES = ("/v1/batches", "/v2/batches", "/v2/webhooks/endpoints", "/v2/webhooks/recover")


@pytest.fixture
def service(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Service]:
    given: dict[str, Any] = {"storage_url": f"file://{tmp_path}/media"}
    with serving(engine, database_url, of=catalog_of_all(), **given) as service:
        yield service


@pytest.mark.parametrize("submit", JSON_SUBMITS, ids=str)
def test_each_is_refused_in_the_envelope_of_the_dialect_and_leaves_nothing(
    submit: Submit, service: Service, tmp_path: Path
) -> None:
    client, bodies = service.client(), dict(hostile_bodies(SIZE))
    assert len(bodies) >= 60
    wrong = {
        what: found
        for what, body in bodies.items()
        if (found := complaint(submit, post(client, submit, body, {})))
    }
    assert wrong == {}
    assert left_behind(service.engine, tmp_path) == (NOTHING, [])
    assert post(client, submit, submit.body(), {}).status_code == 202


@pytest.mark.parametrize("path", OTHER_ROUTES)
def test_each_is_refused_by_the_other_routes(client: Client, path: str) -> None:
    taken = {
        what: answer.status_code
        for what, body in hostile_bodies(60 * 1024)
        if (answer := client.http.post(path, content=body, headers={"Content-Type": "application/json"}))
        and not 400 <= answer.status_code < 500
    }
    assert taken == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a":[' + b"1," * (MOST_VALUES + 1) + b"1]}", f"more than {MOST_VALUES} values"),
        (b'{"a":[' + (b"[" * 300 + b"]" * 300 + b",") * 10 + b"1]}", f"more than {MOST_VALUES} values"),
        (
            b"{" + b",".join(b'"k%d":1' % n for n in range(MOST_FIELDS + 1)) + b"}",
            f"more than {MOST_FIELDS} fields",
        ),
        (
            b'{"a":[' + b'"' + b"x" * LONG_BYTES + b'","y"' * 40 + b" " * 3_000_000 + b"]}",
            "beside its images",
        ),
        (b'{"a":"' + b"\\n" * ESCAPED_BYTES + b'"}', "too many escapes"),
        ('{"a":"é'.encode() + b"x" * ESCAPED_BYTES + b'"}', "not ASCII"),
        (b'{"a":"' + b'\\"' * 100_001 + b'"}', "quotation marks"),
        (
            b'{"prompt":1,"a":{"' + b"k" * LONG_BYTES + b'":1,"' + b"k" * LONG_BYTES + b'":1}}',
            "more than once",
        ),
    ],
    ids=["values", "lists", "fields", "bytes", "escapes", "characters", "quotes", "a long name twice"],
)
def test_what_there_is_too_much_of_is_named(body: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        json_object(body, once_each=True)


def _long(text: str, times: int) -> str:
    return text * (LONG_BYTES // len(text.encode()) + times)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(), children, max_size=5),
    max_leaves=20,
)
UNESCAPED = st.characters(codec="utf-8", exclude_characters='"\\', min_codepoint=32)
LONG = st.builds(_long, st.text(UNESCAPED, min_size=1, max_size=40), st.integers(1, 2))
LISTS: st.SearchStrategy[list[str]] = st.lists(LONG, max_size=2)


@given(st.dictionaries(st.text(), VALUES | LONG | LISTS, max_size=5), st.booleans())
def test_what_is_json_is_read_as_every_reader_does(value: dict[str, Any], ascii_only: bool) -> None:  # noqa: FBT001  # drawn
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert json_object(body, once_each=True) == json.loads(body)


ESCAPED = st.text(st.characters(codec="utf-8") | st.sampled_from('"\\/\n😀'), min_size=8, max_size=60)


@given(ESCAPED, st.integers(1, 14), st.integers(1, 9))
def test_an_image_is_read_whole_wherever_a_slice_of_it_would_end(text: str, size: int, shift: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LONG_BYTES": 8, "ESCAPED_BYTES": 8, "ESCAPES_BYTES": 1}.items():
            patch.setattr(json_body, name, value)
        patch.setattr(json_body, "SLICE_BYTES", size)
        patch.setattr(json_body, "_SHIFT", shift)
        assert json_object(json.dumps({"a": text}).encode(), once_each=True) == {"a": text}


def test_an_image_of_the_largest_size_is_read_in_slices() -> None:
    """Encoders that write a line break or a slash as an escape do so at equal distances."""
    for written in ("A" * 76 + "\\r\\n", "A" * 62 + "\\/", "A"):
        text = written * (3 * SLICE_BYTES // len(written))
        assert json_object(f'{{"a":"{text}"}}'.encode(), once_each=True) == json.loads(f'{{"a":"{text}"}}')
        whole = f'"{text}"'.encode()
        parts = list(string_parts(whole, 0, len(whole)))
        assert b"".join(parts) == text.encode()
        assert max(map(len, parts)) < 1.1 * SLICE_BYTES


@pytest.mark.parametrize("broken", ["\n", "\\x", "\\u00G", "\\ud800"])
def test_an_image_that_is_no_json_is_refused_wherever_it_is_broken(broken: str) -> None:
    for before in (10, SLICE_BYTES - 2, SLICE_BYTES, 2 * SLICE_BYTES):
        text = ("A" * before + broken).ljust(3 * SLICE_BYTES, "A")
        with pytest.raises(InvalidRequest, match="not valid JSON"):
            json_object(f'{{"a":"{text}"}}'.encode(), once_each=True)


@pytest.mark.parametrize("character", ["a", "\n", '"', "\\", "中", "😀"])
def test_a_prompt_may_be_of_any_character_however_it_is_escaped(character: str) -> None:
    value = {"prompt": character * 32_000}
    assert json_object(json.dumps(value).encode(), once_each=True) == value


@pytest.mark.parametrize(
    "image",
    ["data:image/png;base64," + "A/+b" * 40_000, "data:image/png;base64," + ("A" * 76 + "\r\n") * 2000],
)
@pytest.mark.parametrize("escaped", ["", "/", "+", "="])
def test_an_image_is_read_however_a_client_escapes_it(image: str, escaped: str) -> None:
    """PHP writes a slash with a backslash, .NET a plus as six characters, others the equals sign."""
    text = json.dumps({"image": image})
    if escaped:
        written = "\\/" if escaped == "/" else f"\\u{ord(escaped):04x}"
        image = image.replace("A/+b" * 40_000, ("A" * 60 + "/+=") * 2000)
        text = json.dumps({"image": image}).replace(escaped, written)
    assert json_object(text.encode(), once_each=True) == {"image": image}
