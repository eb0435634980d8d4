"""Multipart forms (RFC 7578), read strictly: bounded, complete, and every part with a name.

`python-multipart` finds the parts. It takes a form that breaks off for a whole one, and is slow where the
boundary seems to stand in the content, so both are checked here. A part with a file name is a file, any other
is text in UTF-8.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from imagequeue.dialects.dialect import SubmittedBody
from imagequeue.domain.errors import InvalidRequest
from imagequeue.media.inputs import MOST_INPUT_BYTES

FORM = "multipart/form-data"

MOST_PARTS = 64
"""No document has half as many fields."""

MOST_FILES = 17
"""Sixteen images and a mask: the most that an upstream takes."""

MOST_TEXT_BYTES = 256 * 1024
"""Of one text field: a prompt of 32,000 tokens is shorter."""

_LONGEST_NAME = 100
_BINARY = {"7bit", "8bit", "binary"}


def boundary_of(content_type: str) -> bytes:
    """What stands between the parts, as the `Content-Type` says it.

    Raises:
        InvalidRequest: it does not say it.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise InvalidRequest(f"Content-Type: {FORM} needs a boundary")
    return boundary


def read_form(content: bytes, boundary: bytes) -> SubmittedBody:
    """Read a whole form.

    Raises:
        InvalidRequest: it is no form, breaks off, has too many or too large parts, or a text field twice.
    """
    if content.count(b"\r\n--" + boundary) > MOST_PARTS:
        raise InvalidRequest(f"The form has more than {MOST_PARTS} parts")
    form = _Form()
    try:
        form.parse(content, boundary)
    except FormParserError:
        _refuse()
    return SubmittedBody("form", form.fields, {name: tuple(files) for name, files in form.files.items()})


def _refuse() -> NoReturn:
    raise InvalidRequest("The body is not a valid form") from None


@dataclass(slots=True)
class _Form:
    """What has been read so far; the methods are called by the parser, in the order of the content."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    _headers: dict[str, str] = field(default_factory=dict[str, str])
    _name: bytes = b""
    _value: bytes = b""
    _data: list[bytes] = field(default_factory=list[bytes])
    _ended: bool = False

    def parse(self, content: bytes, boundary: bytes) -> None:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )
        parser.write(content)
        if not self._ended:
            raise InvalidRequest("The form breaks off before its end")

    def _begin(self) -> None:
        self._headers, self._data = {}, []

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").casefold()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _end(self) -> None:
        self._ended = True

    def _part_end(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition", ""))
        if kind != b"form-data" or not options.get(b"name"):
            raise InvalidRequest("A part of the form has no name")
        name = _text(options[b"name"], "The name of a part")
        if self._headers.get("content-transfer-encoding", "binary").casefold() not in _BINARY:
            raise InvalidRequest(f"{name[:_LONGEST_NAME]}: Content-Transfer-Encoding is not supported")
        if b"filename" in options:
            self._add_file(name, b"".join(self._data))
        else:
            self._add_field(name, b"".join(self._data))

    def _add_file(self, name: str, content: bytes) -> None:
        shown = name[:_LONGEST_NAME]
        if name in self.fields:
            raise InvalidRequest(f"{shown} was given as text and as a file")
        if len(content) > MOST_INPUT_BYTES:
            raise InvalidRequest(f"{shown}: the file has more than {MOST_INPUT_BYTES // 2**20} MiB")
        self.files[name].append(content)
        if sum(map(len, self.files.values())) > MOST_FILES:
            raise InvalidRequest(f"The form has more than {MOST_FILES} files")

    def _add_field(self, name: str, content: bytes) -> None:
        shown = name[:_LONGEST_NAME]
        if name in self.fields or name in self.files:
            raise InvalidRequest(f"{shown} was given more than once")
        if len(content) > MOST_TEXT_BYTES:
            raise InvalidRequest(f"{shown}: the text has more than {MOST_TEXT_BYTES // 1024} KiB")
        self.fields[name] = _text(content, shown)


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} is not UTF-8") from None
