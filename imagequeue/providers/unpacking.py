"""Unpack an answer that came compressed although that was not asked for: what is in it is paid.

Streamed, and within a bound: a small compressed body may unpack to gigabytes, so each step makes at most one
piece, and the reader counts what it gets. gzip, deflate, br and zstd are unpacked, also over each other. For
other codings there is no decoder, and an answer in one is unusable.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from imagequeue.domain.upstream import Unavailable
from imagequeue.providers.brotli_and_zstd import from_brotli, from_zstd, looks_plain

_PIECE_BYTES = 64 * 1024
"""The most that one step unpacks to."""
_MOST_CODINGS = 3
"""Codings over each other. More than one is rare, and each costs time."""
_KNOWN = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd"})
_UNKNOWN = frozenset({"compress", "x-compress", "dcb", "dcz"})
"""Registered codings without a decoder here. Any other word (`utf-8`, `none`) is a mistake of the server's,
and the body is as it seems."""
_GZIP_MAGIC = b"\x1f\x8b"
_HEAD_BYTES = 12
"""What tells gzip, zlib, bare deflate and a body that is not compressed apart."""


def unpacked(chunks: Iterable[bytes], content_encoding: str) -> Iterator[bytes]:
    """The body without its codings. What was compressed comes in pieces of at most 64 KiB.

    Raises:
        Unavailable: there is no decoder for the coding, or the body is broken.
    """
    codings = [name.strip().casefold() for name in content_encoding.split(",")]
    if len(codings) > _MOST_CODINGS or _UNKNOWN.intersection(codings):
        raise Unavailable(f"the answer is encoded ({content_encoding[:40]}) although that was not asked for")
    for coding in filter(_KNOWN.__contains__, reversed(codings)):
        chunks = _without(coding, chunks)
    yield from chunks


def _without(coding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    match coding:
        case "br":
            return from_brotli(chunks)
        case "zstd":
            return from_zstd(chunks)
        case _:
            return _Inflating(bare=coding == "deflate").run(chunks)


@dataclass(slots=True)
class _Inflating:
    """One coding: gzip (several members too), zlib or, where `bare` allows it, deflate without a header."""

    bare: bool
    decoder: Any = None
    pending: bytes = b""
    members: int = 0

    def run(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The decoded body. One that has no coding, because a proxy took it off, passes as it is."""
        stream = iter(chunks)
        for chunk in stream:
            self.pending += chunk
            if self.decoder is None and len(self.pending) < _HEAD_BYTES:
                continue
            if self.decoder is None and self._is_plain():
                break
            yield from self._decoded()
        else:
            if self.pending and not self._is_plain():
                yield from self._decoded()
        if not self.members and self.decoder is None:
            yield self.pending
            yield from stream

    def _is_plain(self) -> bool:
        """Whether the body has no coding. Bare deflate hardly ever begins as JSON, HTML or an image does."""
        head = self.pending
        if not self.bare:
            return _window_bits(head) < 0
        return looks_plain(head)

    def _decoded(self) -> Iterator[bytes]:
        while self.pending:
            if self.decoder is None:
                if self.members and not self.pending.startswith(_GZIP_MAGIC):
                    self.pending = b""  # what follows the last member is padding
                    return
                self.decoder = zlib.decompressobj(_window_bits(self.pending))
            yield from self._pieces()
            self.pending = self.decoder.unused_data
            if not self.decoder.eof:
                return
            self.decoder, self.members = None, self.members + 1

    def _pieces(self) -> Iterator[bytes]:
        piece = b"."
        while not self.decoder.eof and (self.pending or len(piece) == _PIECE_BYTES):
            try:
                piece = self.decoder.decompress(self.pending, _PIECE_BYTES)
            except zlib.error:
                raise Unavailable("the answer is compressed, and broken") from None
            self.pending = self.decoder.unconsumed_tail
            yield piece


def _window_bits(head: bytes) -> int:
    """How zlib is told the form: 31 is gzip, 15 zlib, -15 deflate without a header."""
    if head.startswith(_GZIP_MAGIC):
        return 31
    has_header = len(head) > 1 and head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head[:2]) % 31 == 0
    return 15 if has_header else -15
