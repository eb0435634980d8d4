"""An object that comes in chunks, written as an upload."""

from __future__ import annotations

from collections.abc import Iterable

from imagequeue.media.storage import Storage


def put_stream(storage: Storage, key: str, chunks: Iterable[bytes], media_type: str) -> None:
    """Store an object that comes in chunks, of which one part at a time is in memory.

    Raises:
        KeyConflict: the key holds an object already.
        StorageUnavailable: it could not be stored; nothing is left.
        Exception: what `chunks` raised; nothing is left.
    """
    with storage.upload(key, media_type) as upload:
        for chunk in chunks:
            upload.write(chunk)
        upload.finish()
