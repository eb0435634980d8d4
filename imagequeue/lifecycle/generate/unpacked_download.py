"""Unpack a downloaded image whose server compressed it although identity was asked for.

Object stores send what was stored as gzip in that way, whatever the request accepts.
"""

from __future__ import annotations

from dataclasses import replace

from imagequeue.egress.answers import Download
from imagequeue.egress.spool import spooled
from imagequeue.providers.unpacking import unpacked

_PIECE_BYTES = 64 * 1024


def unpacked_download(download: Download, max_bytes: int) -> Download:
    """The same download with its body unpacked; one that has a coding is closed.

    Raises:
        Unavailable: there is no decoder for its coding, or the body is broken.
        BodyTooLarge: it unpacks to more than `max_bytes`.
    """
    coding = download.header("content-encoding")
    if coding is None:
        return download
    with download:
        pieces = iter(lambda: download.file.read(_PIECE_BYTES), b"")
        return replace(download, file=spooled(unpacked(pieces, coding), max_bytes))
