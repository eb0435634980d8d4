"""Fields of every dialect: nonsense, unknown names, what is left out, and how integers are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from imagequeue.dialects.dialect import SubmittedBody
from imagequeue.domain import errors
from imagequeue.domain.errors import ImagequeueError, InvalidRequest, NotFound
from imagequeue.lifecycle.submit.uploads import RequestWithUploads
from tests.builders import catalog
from tests.dialects.examples import CONTENT, Example, dialect_named, examples

CATALOG = catalog()
READ = [example for example in examples("submit") if "request" in example.expects]
NONSENSE: list[Any] = [
    None,
    True,
    -1,
    10**400,
    0.5,
    "",
    "unheard of",
    "\0 nul",
    "\ud800",
    "x" * 100_000,
    [],
    ["x"] * 50,
    {},
    {"unheard of": [None]},
]


def _read(example: Example, body: SubmittedBody | None = None) -> RequestWithUploads:
    dialect = dialect_named(example.dialect)
    return dialect.read(example.request(), body or example.submitted, CATALOG)


def _spoiled(example: Example) -> Iterator[tuple[str, Any, SubmittedBody]]:
    body = example.submitted
    for name in body.fields:
        for nonsense in NONSENSE:
            if body.kind == "json" or isinstance(nonsense, str):
                yield name, nonsense, replace(body, fields={**body.fields, name: nonsense})


@pytest.mark.parametrize("example", READ, ids=str)
def test_nonsense_in_a_field_is_refused_by_name_and_not_repeated(example: Example) -> None:
    """Or it means something: whatever is read can be stored."""
    for name, nonsense, body in _spoiled(example):
        refusal = _refusal(example, body)
        if refusal is None:
            found = _read(example, body)
            assert "\0" not in found.request.prompt
            json.dumps([found.request.prompt, found.notes]).encode()
            found.request.prompt.encode()
            continue
        assert name in refusal.message or isinstance(refusal, errors.UnknownModel | NotFound), nonsense
        assert len(refusal.message) < 1000, "what a client sent is not sent back"


def _refusal(example: Example, body: SubmittedBody) -> ImagequeueError | None:
    """Why the body is refused: any other exception is a fault."""
    try:
        _read(example, body)
    except (InvalidRequest, NotFound) as refusal:
        return refusal
    return None


@pytest.mark.parametrize("example", READ, ids=str)
def test_an_unknown_field_is_refused_by_name(example: Example) -> None:
    body = example.submitted
    with pytest.raises(InvalidRequest, match="unheard_of"):
        _read(example, replace(body, fields={**body.fields, "unheard_of": "x"}))
    if body.kind == "form":
        with pytest.raises(InvalidRequest, match="unheard_of"):
            _read(example, replace(body, files={**body.files, "unheard_of": (CONTENT,)}))


@pytest.mark.parametrize("example", READ, ids=str)
def test_a_field_that_is_left_out_has_a_default_or_is_asked_for_by_name(example: Example) -> None:
    body = example.submitted
    for left_out in body.fields:
        fields = {name: value for name, value in body.fields.items() if name != left_out}
        refusal = _refusal(example, replace(body, fields=fields))
        assert refusal is None or left_out in refusal.message


@pytest.mark.parametrize("example", READ, ids=str)
def test_an_integer_may_be_written_with_a_point(example: Example) -> None:
    """JSON has one kind of number, so `1.0` is 1."""
    body = example.submitted
    written = replace(body, fields={name: _with_points(value) for name, value in body.fields.items()})
    assert _read(example, written) == _read(example)


def _with_points(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [_with_points(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {name: _with_points(one) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value
