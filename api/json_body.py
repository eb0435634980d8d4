"""A JSON object from bytes that a stranger chose: what reading it costs is bounded, whatever its structure.

The interpreter stands still for all other requests while a parser builds values, so what a body holds is
weighed before anything is built: strings of more than 64 KiB, which are images, are cut out and read by
themselves, and what is left is bounded in bytes and in values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from secrets import token_hex
from typing import Any, NamedTuple, NoReturn, cast

from pydantic_core import from_json

from imagequeue.domain.errors import InvalidRequest

LONG_BYTES = 64 * 1024
"""Of a string, as it is written, from which on it is read by itself, and in less than 1 ms."""

MOST_SHORT_BYTES = 2 * 1024 * 1024
"""Of all that is no long string: sixteen thumbnails and a long chat; 40 ms of a parser at worst."""

MOST_VALUES = 3000
"""Commas and opening brackets outside of strings: two hundred messages have 1,200. To find what is wrong with
so many values takes a model 35 ms."""

MOST_QUOTES = 100_000
"""Those that are looked at to find where strings end: a prompt of 32,000 characters may be quotes alone."""

MOST_FIELDS = 200
"""Of one object; no request here has 50."""

ESCAPED_BYTES = 512 * 1024
"""Of a string that may be all escapes: 32,000 characters of a prompt, twelve bytes for each."""

ESCAPES_BYTES = 16
"""A longer string, an image, is ASCII and has at most one escape in so many bytes: encoders write `\\/` or
`\\u002b` for one character of base64 in 64, and some break its lines at 76."""

_LONGEST_NAME = 100
"""Characters of a field's name that a message shows."""

_QUOTE, _BACKSLASH, _MARK = b'"', b"\\", b"\xef\xbb\xbf"
SLICE_BYTES = 1024 * 1024
"""What is counted or parsed in one step, after which another thread may have its turn."""
_ESCAPE_BYTES = 6
"""Of the longest escape, `\\u0041`."""
_SHIFT = 1021
"""Bytes by which a slice gets longer where it cannot end: a prime, because encoders escape at equal
distances."""


def json_object(content: bytes, *, once_each: bool) -> dict[str, Any]:
    """Read the body as a JSON object; `once_each` refuses a field that an object has twice.

    Raises:
        InvalidRequest: it is not JSON (RFC 8259), not an object, or has more of something than it may.
    """
    content = content.removeprefix(_MARK)
    cut = _cut(content)
    try:
        long = {name: _long_string(content, string) for name, string in cut.long.items()}
        value = _loads(cut.short, long, once_each=once_each)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object")
    return cast("dict[str, Any]", value)


class _String(NamedTuple):
    """Where a string is written: from its first quote to behind its last one."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        """Bytes, with both quotes."""
        return self.end - self.begin


@dataclass(slots=True)
class _Cut:
    """A body without its long strings. `long` has where each was, by the name that stands in its place."""

    short: bytes
    long: Mapping[str, _String] = field(default_factory=dict[str, _String])


def _cut(content: bytes) -> _Cut:
    if len(content) <= LONG_BYTES and _values(content, 0, len(content)) <= MOST_VALUES:
        return _Cut(content)  # as most are: nothing in it can be over a limit
    pieces, long, at, values = list[bytes](), dict[str, _String](), 0, 0
    short_bytes, behind = len(content), 0
    token = token_hex(8)  # so that no client can write the name of a string
    for string in _strings(content):
        values += _values(content, behind, string.begin)
        behind = string.end
        if values > MOST_VALUES:
            raise InvalidRequest(f"The body has more than {MOST_VALUES} values")
        if string.length <= LONG_BYTES:
            continue
        name = f"{token}{len(long)}"
        pieces += content[at : string.begin], f'"{name}"'.encode()
        long[name] = string
        short_bytes, at = short_bytes - string.length, string.end
    if short_bytes > MOST_SHORT_BYTES:
        raise InvalidRequest(f"The body has more than {MOST_SHORT_BYTES} bytes beside its images")
    if values + _values(content, behind, len(content)) > MOST_VALUES:
        raise InvalidRequest(f"The body has more than {MOST_VALUES} values")
    pieces.append(content[at:])
    return _Cut(b"".join(pieces), long)


def _values(content: bytes, begin: int, end: int) -> int:
    """How many values begin there at most: each but the first of a list follows a comma or a bracket."""
    commas, lists = content.count(b",", begin, end), content.count(b"[", begin, end)
    return commas + lists + content.count(b"{", begin, end)


def _strings(content: bytes) -> Iterator[_String]:
    """Where the strings are. One without an end is left to the parser, which refuses it."""
    begin, quotes = content.find(_QUOTE), 0
    while begin >= 0:
        end = begin
        while True:
            end, quotes = content.find(_QUOTE, end + 1), quotes + 1
            if quotes > MOST_QUOTES:
                raise InvalidRequest(f"The body has more than {MOST_QUOTES} quotation marks")
            if end < 0:
                return
            if content[end - 1] != _BACKSLASH[0] or not _is_escaped(content, begin, end):
                break
        yield _String(begin, end + 1)
        begin, quotes = content.find(_QUOTE, end + 1), quotes + 1


def _is_escaped(content: bytes, begin: int, end: int) -> bool:
    """Whether an odd number of backslashes stands before `end`."""
    width = 64
    while True:
        before = content[max(begin + 1, end - width) : end]
        backslashes = len(before) - len(before.rstrip(_BACKSLASH))
        if backslashes < width or end - width <= begin:
            return backslashes % 2 == 1
        width *= 8


def _loads(content: bytes, long: Mapping[str, str], *, once_each: bool) -> Any:
    text = content.decode()  # strictly: `loads` would take UTF-16, and half characters
    if not long:
        return (_ONCE_EACH if once_each else _LAST_OF_EACH).decode(text)
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_pairs(long, once_each))


def _long_string(content: bytes, string: _String) -> str:
    if string.length <= ESCAPED_BYTES:
        return cast("str", from_json(content[string.begin : string.end]))
    _require_image(content, string)
    return "".join(cast("str", from_json(b'"%b"' % part)) for part in string_parts(content, *string))


def _require_image(content: bytes, string: _String) -> None:
    most, found = string.length // ESCAPES_BYTES, 0
    for begin in range(string.begin, string.end, SLICE_BYTES):
        part = content[begin : min(begin + SLICE_BYTES, string.end)]
        if not part.isascii():
            raise _too_long("that is not ASCII")
        found += part.count(_BACKSLASH)
        if found > most:
            raise _too_long("with too many escapes")


def _too_long(what: str) -> InvalidRequest:
    return InvalidRequest(f"The body has a string of more than {ESCAPED_BYTES} bytes {what}")


def string_parts(content: bytes, begin: int, end: int) -> Iterator[bytes]:
    """What stands between the quotes of a long string, in slices that can be parsed by themselves."""
    at, end = begin + 1, end - 1
    while at < end:
        cut = at + SLICE_BYTES
        while cut < end and content.find(_BACKSLASH, cut - _ESCAPE_BYTES, cut) >= 0:
            cut += _SHIFT  # perhaps within an escape, or between the two of one character
        yield content[at : min(cut, end)]
        at = cut


def _restored(value: Any, long: Mapping[str, str]) -> Any:
    """A value with its long strings. No closure: one that calls itself would keep them until a collection."""
    if isinstance(value, str):
        return long.get(value, value)
    if isinstance(value, list):
        return [_restored(one, long) for one in cast("list[Any]", value)]
    return value


def _pairs(long: Mapping[str, str], once_each: bool) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:  # noqa: FBT001  # of one caller
    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        whole = [(long.get(name, name), _restored(value, long)) for name, value in pairs]
        return _made(whole, once_each=once_each)

    return made


def _made(pairs: list[tuple[str, Any]], *, once_each: bool) -> dict[str, Any]:
    if len(pairs) > MOST_FIELDS:
        raise InvalidRequest(f"An object of the body has more than {MOST_FIELDS} fields")
    found = dict(pairs)
    if once_each and len(found) < len(pairs):
        raise InvalidRequest(f"{_repeated(pairs)[:_LONGEST_NAME]} was given more than once")
    return found


def _repeated(pairs: list[tuple[str, Any]]) -> str:
    """The first name that was there before."""
    known = set[str]()
    return next(name for name, _ in pairs if name in known or known.add(name))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_ONCE_EACH, _LAST_OF_EACH = (
    json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=partial(_made, once_each=once_each))
    for once_each in (True, False)
)
"""For bodies without long strings, as most are: to make a decoder takes as long as to read such a body."""
