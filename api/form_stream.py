"""A multipart form (RFC 7578) with one large file, read while it arrives.

The parser of `api/form.py` wants the whole form, and steps through content that looks like its boundary byte
by byte. This one searches for the boundary with `bytes.find`, so its cost is proportional to the bytes.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NoReturn

from python_multipart.multipart import parse_options_header

from imagequeue.domain.errors import InvalidRequest

MOST_PARTS = 16
"""A file and the few fields that a document has beside it."""

MOST_HEAD_BYTES = 16 * 1024
"""Of the headers of a part."""

MOST_TEXT_BYTES = 4 * 1024
"""Of a text field."""


class _At(Enum):
    """What comes next."""

    BOUNDARY = auto()
    HEAD = auto()
    CONTENT = auto()
    END = auto()


class FormStream:
    """A form that arrives. The file may come before or behind the text fields."""

    def __init__(self, boundary: bytes, file_field: str) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._delimiter = b"\r\n--" + boundary
        self._file_field = file_field
        self._buffer = b"\r\n"  # so that the first boundary is like the others
        self._at = _At.BOUNDARY
        self._parts = 0
        self._name = ""
        self._in_file = False
        self._text = b""

    def feed(self, data: bytes) -> bytes:
        """Read on; the bytes of the file that were found.

        Raises:
            InvalidRequest: it is no form, has too many or too large parts, or a field twice.
        """
        if self._at is _At.END:
            return b""  # what stands behind the end of a form means nothing
        self._buffer += data
        found: list[bytes] = []
        while self._step(found):
            pass
        return b"".join(found)

    def end(self) -> None:
        """Make sure that the form has ended and had its file.

        Raises:
            InvalidRequest: it breaks off, or has no file.
        """
        if self._at is not _At.END:
            raise InvalidRequest("The form breaks off before its end")
        if self.filename is None:
            raise InvalidRequest(f"{self._file_field}: Field required")

    def _step(self, found: list[bytes]) -> bool:
        """Take one thing from the buffer; False: more must arrive first."""
        if self._at is _At.BOUNDARY:
            return self._boundary()
        if self._at is _At.HEAD:
            return self._head()
        return self._at is _At.CONTENT and self._content(found)

    def _boundary(self) -> bool:
        length = len(self._delimiter)
        if len(self._buffer) < length + 2:
            return False
        if not self._buffer.startswith(self._delimiter):
            _refuse()
        mark, self._buffer = self._buffer[length : length + 2], self._buffer[length + 2 :]
        if mark == b"--":
            self._at = _At.END
        elif mark == b"\r\n":
            self._at, self._buffer = _At.HEAD, b"\r\n" + self._buffer
        else:
            _refuse()
        return True

    def _head(self) -> bool:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if len(head) > MOST_HEAD_BYTES:
            _refuse()
        if not separator:
            return False
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise InvalidRequest(f"The form has more than {MOST_PARTS} parts")
        self._begin(head)
        self._at, self._buffer = _At.CONTENT, rest
        return True

    def _begin(self, head: bytes) -> None:
        lines = [line.partition(b":") for line in head.split(b"\r\n") if line]
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        kind, options = parse_options_header(headers.get(b"content-disposition", b"").decode("latin-1"))
        if kind != b"form-data" or not options.get(b"name"):
            raise InvalidRequest("A part of the form has no name")
        self._name, self._text = options[b"name"].decode(errors="replace"), b""
        self._in_file = self._name == self._file_field
        if self._name in self.fields or (self._in_file and self.filename is not None):
            raise InvalidRequest(f"{self._name[:100]} was given more than once")
        if self._in_file:
            self.filename = options.get(b"filename", b"").decode(errors="replace")

    def _content(self, found: list[bytes]) -> bool:
        """Take content up to the next boundary, or as far as no boundary can begin in it."""
        at = self._buffer.find(self._delimiter)
        size = at if at >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        content, self._buffer = self._buffer[:size], self._buffer[size:]
        if self._in_file:
            found.append(content)
        else:
            self._add_text(content)
        if at < 0:
            return False
        if not self._in_file:
            self._end_field()
        self._at = _At.BOUNDARY
        return True

    def _add_text(self, content: bytes) -> None:
        self._text += content
        if len(self._text) > MOST_TEXT_BYTES:
            raise InvalidRequest(f"{self._name[:100]}: the text has more than {MOST_TEXT_BYTES // 1024} KiB")

    def _end_field(self) -> None:
        try:
            self.fields[self._name] = self._text.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"{self._name[:100]} is not UTF-8") from None


def _refuse() -> NoReturn:
    raise InvalidRequest("The body is not a valid form")
