"""JSON in pieces, because a string of it may be an image.

Writing a string of 27 MB at once would keep the interpreter from all other threads for a tenth of a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_SHORT = (int, float, type(None))
"""What is neither text nor holds any; to ask whether a number is a mapping takes longer."""

_LONG = 64 * 1024
"""Characters of a string from which on it is written in pieces of this length, each in less than 1 ms."""


def canonical_json(value: Any) -> Iterator[bytes]:
    """ASCII with the keys in order: `json.dumps(value, sort_keys=True, separators=(",", ":"))`, in pieces.

    `value` is made of mappings with text keys, lists, text, numbers, truth values and None.
    """
    return _pieces(value, _CANONICAL)


def compact_json(value: Any) -> Iterator[bytes]:
    """The bytes of the body that httpx makes of `json=value`, in pieces; `value` as above.

    Raises:
        ValueError: it has a number or half a character that no JSON has.
    """
    return _pieces(value, _COMPACT)


def _pieces(value: Any, encoder: json.JSONEncoder) -> Iterator[bytes]:
    if not _has_long_string(value):
        yield encoder.encode(value).encode()
        return
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, bytes):  # a mark: no value is bytes
            yield part
        elif isinstance(part, str):
            yield from _string(part, encoder)
        elif isinstance(part, Mapping | list):
            left += reversed(_parts(cast("Mapping[str, Any] | list[Any]", part), in_order=encoder.sort_keys))
        else:
            yield encoder.encode(part).encode()


def _has_long_string(value: Any) -> bool:
    left: list[Any] = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            if len(part) > _LONG:
                return True
        elif isinstance(part, list):
            left += part
        elif not isinstance(part, _SHORT) and isinstance(part, Mapping):
            left += part.keys()
            left += part.values()
    return False


def _parts(value: Mapping[str, Any] | list[Any], *, in_order: bool) -> list[Any]:
    """What an object or a list is written of, in order: values, and marks as bytes."""
    if isinstance(value, list):
        parts = [part for one in value for part in (b",", one)]
        return [b"[", *parts[1:], b"]"]
    names = sorted(value) if in_order else value
    parts = [part for name in names for part in (b",", name, b":", value[name])]
    return [b"{", *parts[1:], b"}"]


def _string(text: str, encoder: json.JSONEncoder) -> Iterator[bytes]:
    """A string; each character is written by itself, so it can be cut anywhere."""
    yield b'"'
    for begin in range(0, len(text), _LONG):
        yield encoder.encode(text[begin : begin + _LONG])[1:-1].encode()
    yield b'"'
