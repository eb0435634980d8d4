"""JSON in pieces is the text of the libraries, so a stored fingerprint stays the one of its body."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagequeue.domain import json_pieces
from imagequeue.domain.json_pieces import canonical_json, compact_json

TEXT = st.text(st.characters() | st.sampled_from('"\\/\n\0ü€😀\ud800\udc00'), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def of_the_library(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


@given(VALUES, st.integers(1, 5) | st.just(1000))
@example({"b": ["\ud83d\ude00", {}, []], "a": {"": "\\" * 9}}, 1)
@example({"x": "\ud83d\ude00"}, 1)  # two halves of one character, as a parser reads two escapes
def test_the_bytes_are_those_of_the_library_wherever_a_string_is_cut(value: Any, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "_LONG", longest)
        assert b"".join(canonical_json(value)) == of_the_library(value)


SENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(SENT, st.integers(1, 5))
@example({"b": "ü😀\u2028", "a": [1.5, 1e300]}, 1)
def test_what_is_sent_is_what_the_client_library_would_write(value: Any, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "_LONG", longest)
        sent = httpx.Request("POST", "http://a", json={"a": value})
        assert b"".join(compact_json({"a": value})) == sent.content


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", "a" * 70_000 + "\ud800"])
def test_what_no_json_has_is_not_sent(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        list(compact_json({"a": [value]}))


def test_a_long_string_comes_in_pieces_and_a_long_name_too() -> None:
    value = {"n" * 200_000: ["ü" * 300_000], "a": 1}
    pieces = list(canonical_json(value))
    assert b"".join(pieces) == of_the_library(value)
    assert max(map(len, pieces)) <= 6 * 64 * 1024


def test_a_value_that_is_as_deep_as_a_parser_reads_it_is_written() -> None:
    text = '{"a":' * 900 + f'"{"A" * 70_000}"' + "}" * 900
    assert b"".join(canonical_json(json.loads(text))) == text.encode()
