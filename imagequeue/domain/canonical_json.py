"""Canonical JSON: keys in order, no white space, ASCII; in pieces, because a string may be an image.

Writing a string of 27 MB at once would keep the interpreter from all other threads for a tenth of a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

_LONG = 64 * 1024
"""Characters of a string from which on it is written in pieces of this length, each in less than 1 ms."""


def canonical_json(value: Any) -> Iterator[bytes]:
    """The bytes of `json.dumps(value, sort_keys=True, separators=(",", ":"))`, in pieces.

    `value` is made of mappings with text keys, lists, text, numbers, truth values and None.
    """
    if not _has_long_string(value):
        yield _ENCODER.encode(value).encode()
        return
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, bytes):  # a mark: no value is bytes
            yield part
        elif isinstance(part, str):
            yield from _string(part)
        elif isinstance(part, Mapping | list):
            left += reversed(_parts(cast("Mapping[str, Any] | list[Any]", part)))
        else:
            yield _ENCODER.encode(part).encode()


def _has_long_string(value: Any) -> bool:
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            if len(part) > _LONG:
                return True
        elif isinstance(part, Mapping):
            left += part.keys()
            left += part.values()
        elif isinstance(part, list):
            left += part
    return False


def _parts(value: Mapping[str, Any] | list[Any]) -> list[Any]:
    """What an object or a list is written of, in order: values, and marks as bytes."""
    if isinstance(value, list):
        parts = [part for one in value for part in (b",", one)]
        return [b"[", *parts[1:], b"]"]
    parts = [part for name in sorted(value) for part in (b",", name, b":", value[name])]
    return [b"{", *parts[1:], b"}"]


def _string(text: str) -> Iterator[bytes]:
    """A string; each character is written by itself, so it can be cut anywhere."""
    yield b'"'
    for begin in range(0, len(text), _LONG):
        yield _ENCODER.encode(text[begin : begin + _LONG])[1:-1].encode()
    yield b'"'
