"""A body's fields: strict in JSON, read from their text in a form, refused by name."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from imagequeue.dialects.dialect import SubmittedBody
from imagequeue.dialects.fields import READABLE, WHOLE, BodyFields, validated, without_nulls
from imagequeue.domain.errors import InvalidRequest


class Example(BodyFields):
    """A field of each kind."""

    prompt: Annotated[str, Field(max_length=10), READABLE]
    n: Annotated[int, Field(ge=1, le=10)] = 1
    stream: bool = False


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("json", {"prompt": "a fox", "n": 2, "stream": True}),
        ("form", {"prompt": "a fox", "n": "2", "stream": "true"}),
    ],
)
def test_both_kinds_of_body_say_the_same(kind: Any, fields: dict[str, Any]) -> None:
    assert validated(Example, SubmittedBody(kind, fields)) == Example(prompt="a fox", n=2, stream=True)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("json", {"n": 2}, "prompt: Field required"),
        ("json", {"prompt": "a fox", "n": "2"}, "n: Input should be a valid integer"),
        ("json", {"prompt": "a fox", "n": True}, "n: Input should be a valid integer"),
        ("json", {"prompt": "a fox", "n": 1.0}, "n: Input should be a valid integer"),
        ("json", {"prompt": "a fox", "stream": "true"}, "stream: Input should be a valid boolean"),
        ("json", {"prompt": " \n"}, "prompt: must not be blank"),
        ("json", {"prompt": "a\0b"}, "prompt: must not contain a NUL character"),
        ("json", {"prompt": "a" * 11}, "prompt: String should have at most 10 characters"),
        ("json", {"prompt": "a fox", "colour": 1}, "Unknown field 'colour'"),
        ("form", {"prompt": "a fox", "n": "two"}, "n: Input should be a valid integer"),
        ("form", {"prompt": "a fox", "n": "11"}, "n: Input should be less than or equal to 10"),
        ("form", {"prompt": "a fox", "stream": "maybe"}, "stream: Input should be a valid boolean"),
        ("form", {"prompt": "a fox", "colour": "red"}, "Unknown field 'colour'"),
        ("form", {}, "prompt: Field required"),
    ],
)
def test_what_is_wrong_is_named(kind: Any, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        validated(Example, SubmittedBody(kind, fields))
    assert raised.value.message.startswith(told)


def test_half_a_character_is_refused_and_a_long_name_is_cut() -> None:
    with pytest.raises(InvalidRequest, match="prompt"):
        validated(Example, SubmittedBody("json", {"prompt": "a\ud800"}))
    with pytest.raises(InvalidRequest) as raised:
        validated(Example, SubmittedBody("json", {"prompt": "a fox", "c" * 10_000: 1}))
    assert len(raised.value.message) < 200


class Whole(BodyFields):
    """An integer that JSON may write as `1.0`."""

    n: Annotated[int, WHOLE, Field(ge=1)] = 1


@pytest.mark.parametrize(("kind", "given"), [("json", 2.0), ("json", 2), ("form", "2")])
def test_a_whole_number_is_an_integer(kind: Any, given: Any) -> None:
    assert validated(Whole, SubmittedBody(kind, {"n": given})).n == 2


@pytest.mark.parametrize(
    ("kind", "given"),
    [("json", "2"), ("json", 2.5), ("json", True), ("form", "2.5"), ("form", "9" * 5000), ("form", "")],
)
def test_what_is_no_whole_number_is_refused(kind: Any, given: Any) -> None:
    with pytest.raises(InvalidRequest, match="n: Input should be"):
        validated(Whole, SubmittedBody(kind, {"n": given}))


def test_null_is_a_field_that_was_left_out_unless_nobody_knows_the_field() -> None:
    body = without_nulls(Example, SubmittedBody("json", {"prompt": "a fox", "n": None, "colour": None}))
    assert body.fields == {"prompt": "a fox", "colour": None}
