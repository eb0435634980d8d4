"""Requests that are none, and shapes by which one client writes into another one's connection, as data.

Sources: RFC 9110, RFC 9112 (section 11 is about smuggling and splitting), and the shapes that became known
since: CL.TE, TE.CL and TE.TE, chunk extensions and trailers, line ends that not every reader takes for one.
"""

from __future__ import annotations

from dataclasses import dataclass

INNER = b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"
"""A request that a reader would find who takes a body to be shorter than another reader."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes that are sent on a connection, and the statuses with which they may be refused."""

    name: str
    sent: bytes
    statuses: tuple[int, ...] = (400,)


def head(*lines: bytes, line: bytes = b"POST /x HTTP/1.1", host: bytes | None = b"Host: a") -> bytes:
    """A head with these lines after the host."""
    return b"\r\n".join([line, *([host] if host else []), *lines, b"", b""])


_CHUNKED = b"Transfer-Encoding: chunked"


def chunked(body: bytes, *lines: bytes) -> bytes:
    """A request with a body in chunks, or what is none."""
    return head(_CHUNKED, *lines) + body


_LINES = (
    Malformed("no version", b"GET /\r\n\r\n"),
    Malformed("no version, and nothing after it", b"GET /\r\n"),
    Malformed("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("no method", b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("two empty lines before it", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a space before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("two spaces before the target", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a tab before the target", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    Malformed("a version in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    Malformed("another protocol", b"GET / ICY/1.1\r\nHost: a\r\n\r\n"),
    Malformed("HTTP/0.9 by name", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    Malformed("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    Malformed("HTTP/2", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    Malformed("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Malformed("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    Malformed("a version with a plus", b"GET / HTTP/+1.1\r\nHost: a\r\n\r\n"),
    Malformed("a method in braces", b"{GET} / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("an unknown method", b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a method in lower case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a method with a NUL", b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a target with a NUL", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a target with a DEL", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a target with a high byte", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a target with a fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a target that is no path", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a target that is a query", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a target of another scheme", b"GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed("a target with a user", b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"),
    Malformed("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" + INNER),
    Malformed("CONNECT with a path", b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n" + INNER),
    Malformed("a bare line feed after it", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    Malformed("bare line feeds alone", b"GET / HTTP/1.1\nHost: a\n\n"),
    Malformed("a bare carriage return after it", b"GET / HTTP/1.1\rHost: a\r\r", (408,)),
    Malformed("a TLS hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n" + bytes(range(160))),
    Malformed("a line without end", b"GET /" + b"a" * 70_000, (400, 431)),
    Malformed("a target of 66 KB", head(line=b"GET /" + b"a" * 66_000 + b" HTTP/1.1"), (431,)),
)

_FIELDS = (
    Malformed("no host", head(host=None)),
    Malformed("two hosts", head(b"Host: b")),
    Malformed("the same host twice", head(b"Host: a")),
    Malformed("a host and another one in other letters", head(b"hOST: b")),
    Malformed("a host with a path", head(host=b"Host: a/b")),
    Malformed("a host with a user", head(host=b"Host: a@b")),
    Malformed("two hosts in one", head(host=b"Host: a b")),
    Malformed("a host with a bad port", head(host=b"Host: a:http")),
    Malformed("a space before a colon", head(b"Content-Length : 0")),
    Malformed("a tab before a colon", head(b"Content-Length\t: 0")),
    Malformed("no colon", head(b"Accept")),
    Malformed("no name", head(b": a")),
    Malformed("a name in brackets", head(b"(a): b")),
    Malformed("a name with a NUL", head(b"a\0b: c")),
    Malformed("a name with a high byte", head(b"\xe4: b")),
    Malformed("a value with a NUL", head(b"a: b\0c")),
    Malformed("a value with a bare carriage return", head(b"a: b\rc: d")),
    Malformed("a value with a bell", head(b"a: \x07")),
    Malformed("a value with a DEL", head(b"a: \x7f")),
    Malformed("a folded line", head(b"a: b", b" c")),
    Malformed("a folded line with a tab", head(b"a: b", b"\tc")),
    Malformed("the first line folded", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    Malformed("a bare line feed between fields", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    Malformed("a bare line feed at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    Malformed("two carriage returns", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    Malformed("101 fields", head(*(b"x-%d: y" % number for number in range(100))), (431,)),
    Malformed("5,000 fields", head(*(b"a: b" for _ in range(5_000))), (431,)),
    Malformed("a field of 66 KB", head(b"a: " + b"b" * 66_000), (431,)),
    Malformed("fields without end", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, (431,)),
    Malformed("half a head", b"GET / HTTP/1.1\r\nHost: a\r\n", (408,)),
    Malformed("half a line", b"GET /", (408,)),
)

_FRAMING = (
    Malformed(
        "a length and chunks", head(b"Content-Length: 6", b"Transfer-Encoding: chunked") + b"0\r\n\r\nX"
    ),
    Malformed("chunks and a length", chunked(b"0\r\n\r\n" + INNER, b"Content-Length: 4")),
    Malformed("two lengths", head(b"Content-Length: 5", b"Content-Length: 37") + b"hello" + INNER),
    Malformed("the same length twice", head(b"Content-Length: 5", b"Content-Length: 5") + b"hello"),
    Malformed("two lengths in one", head(b"Content-Length: 5, 5") + b"hello"),
    Malformed("a length with a plus", head(b"Content-Length: +5") + b"hello"),
    Malformed("a length below nought", head(b"Content-Length: -5") + INNER),
    Malformed("a length in hexadecimal", head(b"Content-Length: 0x5") + b"hello"),
    Malformed("a length with a fraction", head(b"Content-Length: 5.0") + b"hello"),
    Malformed("a length with a space in it", head(b"Content-Length: 5 5") + b"hello"),
    Malformed("a length with an underscore", head(b"Content-Length: 1_0") + b"hello" * 2),
    Malformed("a length in Arabic digits", head("Content-Length: ٥".encode()) + b"hello"),
    Malformed("an empty length", head(b"Content-Length:") + b"hello"),
    Malformed("a length beyond 64 bits", head(b"Content-Length: 18446744073709551621") + b"hello"),
    Malformed("a length of a thousand digits", head(b"Content-Length: " + b"0" * 999 + b"5") + b"hello"),
    Malformed(
        "chunks in HTTP/1.0", head(b"Transfer-Encoding: chunked", line=b"POST /x HTTP/1.0") + b"0\r\n\r\n"
    ),
    Malformed("an unknown coding", head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n" + INNER),
    Malformed("identity", head(b"Transfer-Encoding: identity", b"Connection: close") + INNER),
    Malformed("gzip, then chunks", head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    Malformed("chunks, then gzip", head(b"Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n"),
    Malformed("chunks twice", head(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n"),
    Malformed("two codings", chunked(b"0\r\n\r\n" + INNER, b"Transfer-Encoding: identity")),
    Malformed("a coding in quotes", head(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n"),
    Malformed("a coding with a vertical tab", head(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n"),
    Malformed("a coding with a parameter", head(b"Transfer-Encoding: chunked;a=b") + b"0\r\n\r\n"),
    Malformed("a coding without a value", head(b"Transfer-Encoding:", b"Content-Length: 5") + b"hello"),
    Malformed("a coding with a space before the colon", head(b"Transfer-Encoding : chunked") + b"0\r\n\r\n"),
    Malformed("a coding on a folded line", head(b"Transfer-Encoding:", b" chunked") + b"0\r\n\r\n"),
)

CHUNKS = (
    Malformed("a chunk that is none", chunked(b"x\r\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk without a size", chunked(b"\r\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk with 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk with a plus", chunked(b"+5\r\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk below nought", chunked(b"-5\r\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk with a space before its size", chunked(b" 5\r\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk with a space after its size", chunked(b"5 \r\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk with an underscore", chunked(b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n")),
    Malformed("a chunk beyond 64 bits", chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk with a bare line feed", chunked(b"5\nhello\r\n0\r\n\r\n")),
    Malformed("a chunk with a bare carriage return", chunked(b"5\rXhello\r\n0\r\n\r\n")),
    Malformed("a chunk that is longer than it says", chunked(b"5\r\nhello, world\r\n0\r\n\r\n")),
    Malformed("a chunk that is shorter than it says", chunked(b"9\r\nhello\r\n0\r\n\r\n" + INNER)),
    Malformed("a chunk that ends with a bare line feed", chunked(b"5\r\nhello\n0\r\n\r\n")),
    Malformed("a chunk without a line end", chunked(b"5\r\nhello0\r\n\r\n")),
    Malformed("an extension of 2 KB", chunked(b"5;" + b"a" * 2_000 + b"\r\nhello\r\n0\r\n\r\n")),
    Malformed("an extension without end", chunked(b"5;" + b"a" * 100_000)),
    Malformed("an extension with a bare line feed", chunked(b"5;a\nhello\r\n0\r\n\r\n" + INNER)),
    Malformed("an extension with a bare carriage return", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    Malformed("an extension with a NUL", chunked(b"5;a=\0\r\nhello\r\n0\r\n\r\n")),
    Malformed("a size with zeros without end", chunked(b"0" * 100_000)),
    Malformed("chunks of one byte", chunked(b"1\r\na\r\n" * 5_000 + b"0\r\n\r\n")),
    Malformed("a last chunk with a bare line feed", chunked(b"5\r\nhello\r\n0\n\n" + INNER)),
    Malformed("a trailer that is none", chunked(b"0\r\nhello\r\n\r\n")),
    Malformed("a trailer that is folded", chunked(b"0\r\na: b\r\n c\r\n\r\n")),
    Malformed("a trailer with bare line feeds", chunked(b"0\r\na: b\n\n" + INNER)),
    Malformed("a trailer with a space before a colon", chunked(b"0\r\na : b\r\n\r\n")),
    Malformed("a trailer of 20 KB", chunked(b"0\r\n" + b"a: b\r\n" * 3_400 + b"\r\n"), (431,)),
    Malformed("a trailer without end", chunked(b"0\r\na: " + b"b" * 100_000), (431,)),
    Malformed("half a body", head(b"Content-Length: 10") + b"hello", (408,)),
    Malformed("half a chunk", chunked(b"5\r\nhel"), (408,)),
    Malformed("no last chunk", chunked(b"5\r\nhello\r\n"), (408,)),
    Malformed("half a trailer", chunked(b"0\r\na: b\r\n"), (408,)),
)

MALFORMED = (*_LINES, *_FIELDS, *_FRAMING, *CHUNKS)
