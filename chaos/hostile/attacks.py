"""What the hostile client does: a deck of attacks, each some connections that begin at the same time.

The bounds of the connections are those of docs/http-edge.md, "Bounds".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count, cycle, islice
from types import MappingProxyType

from chaos.hostile.exchange import REFUSALS, Shape
from chaos.hostile.json_bodies import MIB, hostile_bodies
from chaos.hostile.malformed import MALFORMED, Malformed
from chaos.hostile.pictures import pictures

EDIT_PATH = "/v1/images/edits"
SUBMIT_PATH = "/v1/images/generations"
HEAD_SECONDS, BODY_SECONDS, LINGER_SECONDS, STALL_SECONDS = 10.0, 20.0, 2.0, 120.0
"""Bounds of the edge: of a head, of a body's first bytes, of a refused client, and of one that reads nothing,
which is looked for each 60 s and has 60 s more."""
WRONG_KEY_SECONDS = 10.0
"""Most that the answer to a wrong key is put off."""
WORK_SECONDS = 30.0
"""What the service may take for what it has to read and to answer, on a busy machine."""
DECODING_SECONDS = 30.0
"""Most that an upload waits until it may be decoded."""
BOUNDARY = "hostile"
_UNAUTHORIZED = frozenset({401, 429})
_TAKEN = REFUSALS | {202}
"""Of the pictures that are some: the account has funds for a few."""

_GOOD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
_LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
_HALF = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
_LONG = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
"""Its answer has some hundred KB, so few fill all buffers."""
_FLOOD, _UNREAD_FLOOD = 500, 20_000
"""Pipelined requests: of a client that reads its answers, and of one that does not."""
_MANY, _SEVERAL, _SOME = 40, 8, 2
"""Connections of an attack, by what one of them costs its sender."""
_SMALL_BYTES, _LARGE_BYTES = MIB // 2, 8 * MIB
"""Of JSON bodies. Each shape is sent once in the small size, and some in the large one."""
_LARGE = frozenset({"brackets", "unknown fields", "a prompt of escapes", "images without end"})

Attack = Callable[[], Iterator[Shape]]


class Attacks:
    """The attacks by name; each call of one gives the connections of its next turn.

    Attributes:
        by_name: the deck.
    """

    def __init__(self, api_key: str, model: str) -> None:
        self._key, self._model = api_key, model
        self._malformed, self._numbers = cycle(MALFORMED), count()
        self._bodies = cycle(hostile_bodies(_SMALL_BYTES))
        self._large = cycle([one for one in hostile_bodies(_LARGE_BYTES) if one[0] in _LARGE])
        self._pictures = cycle(pictures())
        self.by_name: Mapping[str, Attack] = MappingProxyType(
            {
                "connections that stay silent": _silent,
                "half heads": _half_heads,
                "header lines without end": _header_lines,
                "pipelined requests": _pipelined,
                "pipelined requests, answers unread": _unread,
                "malformed requests": self._malformed_requests,
                "chunks of one byte": self._small_chunks,
                "slow bodies": self._slow_bodies,
                "hostile JSON": self._hostile_json,
                "hostile JSON of 8 MiB": self._large_json,
                "wrong keys": self._wrong_keys,
                "hostile pictures": self._hostile_pictures,
            }
        )

    def _malformed_requests(self) -> Iterator[Shape]:
        for one in islice(self._malformed, _MANY):
            yield _between_good_ones(one)

    def _small_chunks(self) -> Iterator[Shape]:
        head = self._head(SUBMIT_PATH, "application/json", "Transfer-Encoding: chunked")
        yield Shape("chunks of one byte", (head, b"1\r\na\r\n" * MIB, b"0\r\n\r\n"))

    def _slow_bodies(self) -> Iterator[Shape]:
        """A byte each second: a body has 20 s, and a second more for each 4 KiB."""
        head = self._head(SUBMIT_PATH, "application/json", f"Content-Length: {MIB}")
        pieces = (head, *(b" " for _ in range(round(BODY_SECONDS) * 3)))
        for _ in range(_SEVERAL):
            bound = BODY_SECONDS + LINGER_SECONDS
            yield Shape("a byte of a body each second", pieces, pause_seconds=1.0, bound_seconds=bound)

    def _hostile_json(self) -> Iterator[Shape]:
        for name, body in islice(self._bodies, _SEVERAL):
            yield self._submit(name, body)

    def _large_json(self) -> Iterator[Shape]:
        name, body = next(self._large)
        yield self._submit(f"8 MiB of {name}", body)

    def _submit(self, name: str, body: bytes) -> Shape:
        head = self._head(SUBMIT_PATH, "application/json", f"Content-Length: {len(body)}")
        return Shape(name, (head, body), bound_seconds=WORK_SECONDS)

    def _wrong_keys(self) -> Iterator[Shape]:
        for _ in range(_SEVERAL):
            body = json.dumps({"model": self._model, "prompt": "chaos"}).encode()
            head = _head(
                f"{self._key}{next(self._numbers)}",
                SUBMIT_PATH,
                "application/json",
                f"Content-Length: {len(body)}",
            )
            bound = WRONG_KEY_SECONDS + WORK_SECONDS
            yield Shape("a wrong key", (head, body), allowed=_UNAUTHORIZED, bound_seconds=bound)

    def _hostile_pictures(self) -> Iterator[Shape]:
        for name, content in islice(self._pictures, _SOME):
            body = self._form(content)
            media_type = f"multipart/form-data; boundary={BOUNDARY}"
            head = self._head(EDIT_PATH, media_type, f"Content-Length: {len(body)}")
            yield Shape(name, (head, body), allowed=_TAKEN, bound_seconds=DECODING_SECONDS + WORK_SECONDS)

    def _form(self, picture: bytes) -> bytes:
        texts = {"model": self._model, "prompt": f"chaos hostile {next(self._numbers)}"}
        parts = [(f'name="{name}"', text.encode()) for name, text in texts.items()]
        parts.append(('name="image"; filename="a.png"\r\nContent-Type: image/png', picture))
        begin = f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
        told = (begin.encode() + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
        return b"".join(told) + f"--{BOUNDARY}--\r\n".encode()

    def _head(self, path: str, media_type: str, length: str) -> bytes:
        return _head(self._key, path, media_type, length)


def _head(key: str, path: str, media_type: str, length: str) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: a",
        f"Authorization: Bearer {key}",
        f"Content-Type: {media_type}",
        "Prefer: respond-async",
        "Connection: close",
        length,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _between_good_ones(one: Malformed) -> Shape:
    """A malformed request behind a right one, and another one behind it, unless that would complete it.

    The last one is never answered: the connection ends with the refusal.
    """
    waits = 408 in one.statuses  # noqa: PLR2004  # it is incomplete
    sent = _GOOD + one.sent + (b"" if waits else _GOOD)
    allowed = frozenset({200, 404, *one.statuses})
    seconds = BODY_SECONDS + LINGER_SECONDS if waits else WORK_SECONDS
    return Shape(one.name, (sent,), allowed=allowed, most_answers=2, bound_seconds=seconds)


def _silent() -> Iterator[Shape]:
    for sent in (b"", b"GET /hea"):
        for _ in range(_MANY // 2):
            yield Shape("silence", (sent,), bound_seconds=HEAD_SECONDS + LINGER_SECONDS)


def _half_heads() -> Iterator[Shape]:
    for _ in range(_MANY):
        sent = _HALF + b"a: " + b"b" * 60_000
        yield Shape("half a head", (sent,), bound_seconds=HEAD_SECONDS + LINGER_SECONDS)


def _header_lines() -> Iterator[Shape]:
    lines = b"".join(b"x-%d: a\r\n" % number for number in range(MIB // 12))
    pieces = (_HALF, *(lines for _ in range(20 * MIB // len(lines))))
    yield Shape("20 MiB of header lines", pieces, bound_seconds=WORK_SECONDS)


def _pipelined() -> Iterator[Shape]:
    for _ in range(_SOME):
        yield Shape(
            "pipelined requests",
            (_GOOD * (_FLOOD - 1), _LAST),
            allowed=frozenset({200}),
            most_answers=_FLOOD,
            bound_seconds=2 * WORK_SECONDS,
        )


def _unread() -> Iterator[Shape]:
    yield Shape(
        "pipelined requests, answers unread",
        (_LONG * _UNREAD_FLOOD,),
        allowed=frozenset({200}),
        most_answers=_UNREAD_FLOOD,
        bound_seconds=STALL_SECONDS + WORK_SECONDS,
        reads=False,
    )
