"""The fields of bodies and answers: types are strict, and what is wrong is named without repeating it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from imagequeue.dialects.dialect import SubmittedBody
from imagequeue.domain.errors import InvalidRequest

_LONGEST_NAME = 100
"""Characters of a field's name that a message shows: clients choose the names of unknown fields."""


class BodyFields(BaseModel):
    """A body: true is no integer, unknown fields are refused by name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


EXAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)
"""A whole PNG of one pixel, as a data URL."""


def shown(*examples: Mapping[str, Any], files: Mapping[str, str] | None = None) -> ConfigDict:
    """What the documentation of the API shows about a body: examples, and the files of a form.

    `files` has what each file is; a name in brackets, as `image[]`, may be there several times.
    """

    def add(schema: dict[str, Any]) -> None:
        schema["examples"] = [dict(one) for one in examples]
        for name, meaning in (files or {}).items():
            file = {"type": "string", "format": "binary"}
            several = {"type": "array", "items": file} if name.endswith("[]") else file
            schema["properties"][name] = {**several, "description": meaning}

    return ConfigDict(json_schema_extra=add)


class AnswerFields(BaseModel):
    """What an answer has, for the documentation of the API; the conformance suite reads answers with it."""

    model_config = ConfigDict(defer_build=True)


_INTEGER = re.compile(r"-?[0-9]{1,20}")

F = TypeVar("F", bound=BodyFields)


def validated(kind: type[F], body: SubmittedBody) -> F:
    """Read a body's fields; in a form, numbers and truth values are what their text says.

    Raises:
        InvalidRequest: names the field and what is wrong with it.
    """
    read = kind.model_validate_strings if body.kind == "form" else kind.model_validate
    try:
        return read(dict(body.fields), context=body.kind)
    except ValidationError as error:
        raise complaint(error) from None


def complaint(error: ValidationError, kind: str = "field") -> InvalidRequest:
    """The first thing that is wrong, with the name of the field, or of what else `kind` says that it is."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"])[:_LONGEST_NAME]
    if first["type"] == "extra_forbidden":
        return InvalidRequest(f"Unknown {kind} '{name}'")
    return InvalidRequest(f"{name}: {first['msg'].removeprefix('Value error, ')}")


def without_nulls(kind: type[BodyFields], body: SubmittedBody) -> SubmittedBody:
    """The body without those fields of `kind` that are null: some clients write null for a left out field."""
    if None not in body.fields.values():  # most bodies; a batch reads a million of them
        return body
    known = kind.model_fields
    given = {name: value for name, value in body.fields.items() if value is not None or name not in known}
    return replace(body, fields=given)


def _readable(prompt: str) -> str:
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise ValueError("must be whole Unicode characters") from None
    if "\0" in prompt:
        raise ValueError("must not contain a NUL character")
    if not prompt.strip():
        raise ValueError("must not be blank")
    return prompt


READABLE = AfterValidator(_readable)
"""For a prompt, behind its limits of length: not blank, and nothing in it that the database cannot store."""


def require_readable(text: str, field: str) -> str:
    """A prompt that was put together from several fields, checked as `READABLE` does.

    Raises:
        InvalidRequest: names `field` and what is wrong with it.
    """
    try:
        return _readable(text)
    except ValueError as error:
        raise InvalidRequest(f"{field}: {error}") from None


def _whole(value: object, info: ValidationInfo) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and info.context == "form" and _INTEGER.fullmatch(value):
        return int(value)
    return value


WHOLE = BeforeValidator(_whole)
"""For an integer: JSON has one kind of number, and some clients write 1 as `1.0` or `1e0`.
A form has its text."""
