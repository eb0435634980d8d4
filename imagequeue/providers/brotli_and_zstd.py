"""Unpack what came as `br` or `zstd`, piece by piece, as `unpacking.py` does for gzip and deflate.

A proxy may take a coding off and leave the header as it is. A body that is not of the coding, and looks like
what upstreams send, passes as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import brotli

from imagequeue.domain.upstream import Unavailable
from imagequeue.providers.pictures import is_image

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES = 32 * 1024
"""The most that one step unpacks to; brotli's decoder goes beyond it, to 96 KiB."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_WINDOW_LOG = 23
"""Windows of 8 MiB: RFC 9659 allows no larger ones in HTTP, and each takes memory here."""


def looks_plain(head: bytes) -> bool:
    """Whether a body begins as JSON, HTML or an image does."""
    return head.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"{", b"[", b"<", b'"') or is_image(head)


def from_brotli(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The body without its coding `br`.

    Raises:
        Unavailable: it is broken.
    """
    stream, decoder, head, came = iter(chunks), brotli.Decompressor(), b"", False
    for chunk in stream:
        head = head if came else head + chunk
        try:
            for piece in _brotli_pieces(decoder, chunk):
                came = True
                yield piece
        except brotli.error:
            if came or not looks_plain(head):
                raise Unavailable("the answer is compressed, and broken") from None
            yield from chain([head], stream)
            return


def _brotli_pieces(decoder: Any, chunk: bytes) -> Iterator[bytes]:
    """What a chunk unpacks to; a chunk after the end is padding."""
    piece = b"."
    while piece and not decoder.is_finished():
        piece = decoder.process(chunk, output_buffer_limit=PIECE_BYTES)
        chunk = b""
        yield from (piece[at : at + PIECE_BYTES] for at in range(0, len(piece), PIECE_BYTES))


def from_zstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The body without its coding `zstd`; it may have several frames.

    Raises:
        Unavailable: it is broken, or wants more memory than a body in HTTP may.
    """
    stream, head = iter(chunks), b""
    for chunk in stream:
        head += chunk
        if len(head) >= len(_ZSTD_MAGIC):
            break
    rest = chain([head], stream)
    yield from _frames(rest) if head.startswith(_ZSTD_MAGIC) else rest


def _frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    decoder = _zstd_decoder()
    for chunk in chunks:
        pending = chunk
        while pending or not (decoder.eof or decoder.needs_input):
            if decoder.eof:
                decoder = _zstd_decoder()
            try:
                piece = decoder.decompress(pending, PIECE_BYTES)
            except zstd.ZstdError:
                raise Unavailable("the answer is compressed, and broken") from None
            pending = decoder.unused_data if decoder.eof else b""
            yield piece


def _zstd_decoder() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
