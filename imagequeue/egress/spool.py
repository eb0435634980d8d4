"""Bodies of answers: in memory while they are small, on disk when they are large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from imagequeue.egress.errors import BodyTooLarge
from imagequeue.spooling import Spool

SPOOL_THRESHOLD: Final = 1024 * 1024  # bytes held in memory before a body goes to disk


def spooled(chunks: Iterable[bytes], max_bytes: int) -> Spool:
    """Write `chunks` to a spool; return it, positioned at its start.

    It is in memory up to `SPOOL_THRESHOLD`; the caller closes it.

    Raises:
        BodyTooLarge: more than `max_bytes` came; what was written is gone.
    """
    spool = Spool(SPOOL_THRESHOLD)
    try:
        _fill(spool, chunks, max_bytes)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool


def _fill(spool: Spool, chunks: Iterable[bytes], max_bytes: int) -> None:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(f"the body is larger than {max_bytes} bytes", sent=True)
        spool.write(chunk)
