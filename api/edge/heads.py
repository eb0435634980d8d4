"""Which heads of requests are let through to the parser: those of the grammar of RFC 9112, and no others.

What the standard lets a server take or mend is refused where readers are known to differ about it: bare line
feeds, folded lines, a space before a colon, two lengths, a length beside chunks, several hosts. A proxy in
front that reads such a request in another way would let one client write into the connection of another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from api.edge.limits import EdgeLimits

Fields = Iterable[tuple[bytes, bytes]]
"""Names in lower case, and values."""

_BLANK = b"\r\n"
_END = re.compile(rb"\n\r?\n")
"""Where a head ends, also one with wrong line ends, which is then refused at once."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_LINE = re.compile(
    rb"(?P<method>" + _TOKEN + rb") (?P<target>[\x21\x22\x24-\x7e]++) HTTP/1\.(?P<minor>[01])\r\n"
)
FIELDS = re.compile(rb"(?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*+\r\n")
_TARGET = re.compile(rb"/|\*\Z|https?://[^/?@]+/")
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_-]+\]|[0-9A-Za-z\-._~!$&'()*+,;=%]*)(?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,19}")
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r]*(?=\r\n)", re.IGNORECASE)
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


class RequestRefused(Exception):
    """This request is not served, and its connection ends: nobody can say where a further one would begin."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RequestLine(NamedTuple):
    """The first line of a head."""

    method: bytes
    target: bytes
    old: bool
    """HTTP/1.0, which knows no chunks and asks for no host."""

    @property
    def path(self) -> str:
        """The path as it was written, without the query."""
        path = self.target.partition(b"?")[0].decode("ascii")
        return path if path.startswith("/") else "/" + path.partition("://")[2].partition("/")[2]


class Framing(NamedTuple):
    """Where the body of a request ends: after `length` bytes, or (`chunked`) after its last chunk."""

    length: int
    chunked: bool
    expects: bool
    """The client waits for a 100 before it sends the body."""


class HeadReader:
    """Finds one head after the other in what arrives."""

    def __init__(self, limits: EdgeLimits) -> None:
        self._limits = limits
        self._searched = 0  # bytes in which no head ends
        self.line: RequestLine | None = None
        """The request line of the present head, if it could be read; it stays until `begin`."""

    def begin(self) -> None:
        """Read the next head."""
        self._searched, self.line = 0, None

    def take(self, data: bytearray) -> bytes | None:
        """Take the next head from the beginning of `data`: checked, and as the parser shall see it.

        None: it is not complete. Then `data` begins with it next time.

        Raises:
            RequestRefused: it is malformed or too large, or can only become so.
        """
        if self._searched == 0 and data.startswith(_BLANK):
            del data[: len(_BLANK)]  # RFC 9112, 2.2: some clients write one behind a body
            self._searched = 1
        found = _END.search(data, max(0, self._searched - len(_BLANK)))
        if found is None:
            self._await(data)
            return None
        head = bytes(data[: found.end()])
        self.line = read_line(head)
        self._bound(len(head))
        head = check_fields(head, self._limits.fields)
        del data[: found.end()]
        return head

    def _await(self, data: bytearray) -> None:
        if self.line is None and b"\n" in data:
            self.line = read_line(data)
        self._bound(len(data))
        if not _BLANK.startswith(data):
            self._searched = len(data)

    def _bound(self, size: int) -> None:
        if size > self._limits.head_bytes:
            raise RequestRefused(431, f"The head is larger than {self._limits.head_bytes} bytes")


def read_line(head: bytes | bytearray) -> RequestLine:
    """Read the request line at the beginning of a head.

    Raises:
        RequestRefused: it is none of HTTP/1.0 or 1.1; 0.9 has no version.
    """
    found = _LINE.match(head)
    if found is None:
        raise RequestRefused(400, "The request line is not one of HTTP/1.1")
    if found["method"] == b"CONNECT" or not _TARGET.match(found["target"]):
        raise RequestRefused(400, "The target of the request is not a path")
    return RequestLine(found["method"], found["target"], found["minor"] == b"0")


def check_fields(head: bytes, most_fields: int) -> bytes:
    """Check the fields of a complete head; returns it as the parser shall see it.

    That is without `Upgrade`, which a server may ignore: the parser would take what follows for another
    protocol.

    Raises:
        RequestRefused: a line is none of the grammar, or there are too many.
    """
    line_end = head.index(b"\n") + 1
    if head.count(b"\n", line_end) - 1 > most_fields:
        raise RequestRefused(431, f"The request has more than {most_fields} header fields")
    if FIELDS.fullmatch(head, line_end) is None:
        raise RequestRefused(400, "A header field is malformed")
    return _UPGRADE.sub(b"", head)


def framing_of(fields: Fields, *, old: bool) -> Framing:
    """How long the body of a request is, by its header fields; `old` is as in `RequestLine`.

    Raises:
        RequestRefused: they say it twice, or as readers do not agree on; or they do not name one host.
    """
    said: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in _FRAMING:
            if name in said:
                raise RequestRefused(400, f"{name.decode('ascii')} was given more than once")
            said[name] = value.strip(b" \t")
    _check_host(said.get(b"host"), old=old)
    chunked = _is_chunked(said, old=old)
    length = said.get(b"content-length", b"0")
    if not _LENGTH.fullmatch(length):
        raise RequestRefused(400, "content-length is not a number of bytes")
    return Framing(int(length), chunked, said.get(b"expect", b"").lower() == b"100-continue" and not old)


def _check_host(host: bytes | None, *, old: bool) -> None:
    if (host is None and not old) or not _HOST.fullmatch(host or b""):
        raise RequestRefused(400, "The request must name its host in one host field")


def _is_chunked(said: dict[bytes, bytes], *, old: bool) -> bool:
    coding = said.get(b"transfer-encoding")
    if coding is None:
        return False
    if coding.lower() != b"chunked" or old or b"content-length" in said:
        raise RequestRefused(400, "transfer-encoding must be chunked, in HTTP/1.1, without a content-length")
    return True
