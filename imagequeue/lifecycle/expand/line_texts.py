"""The text of lines, read from the files of their batch: one ranged read for each run of neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagequeue.media.storage import Storage
from imagequeue.store.batches.expansion import WaitingLine

MOST_BYTES = 8 * 1024 * 1024
"""Bytes of text that one turn reads; it takes fewer lines rather than more. Lines may hold images."""

GAP_BYTES = 64 * 1024
"""Bytes of other flows' lines that are read along: cheaper than another request to a bucket."""


def within_bytes(lines: Sequence[WaitingLine]) -> list[WaitingLine]:
    """The first of the lines that have at most `MOST_BYTES` of text, and at least one."""
    total, taken = 0, list[WaitingLine]()
    for line in lines:
        total += line.byte_count
        if taken and total > MOST_BYTES:
            break
        taken.append(line)
    return taken


def read_texts(storage: Storage, keys: Sequence[str], lines: Sequence[WaitingLine]) -> list[bytes]:
    """The text of each line, in their order; `keys` are those of the files, by part from 1.

    Raises:
        ObjectMissing: a file is gone.
        StorageUnavailable: the storage is away.
    """
    texts = dict[int, bytes]()
    for run in _runs(lines):
        begin, last = run[0].byte_offset, run[-1]
        content = storage.read(keys[run[0].part - 1], begin, last.byte_offset + last.byte_count - begin)
        for line in run:
            start = line.byte_offset - begin
            texts[line.number] = content[start : start + line.byte_count]
    return [texts[line.number] for line in lines]


def _runs(lines: Sequence[WaitingLine]) -> Iterator[list[WaitingLine]]:
    run = list[WaitingLine]()
    for line in lines:
        if run and not _follows(run[-1], line):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _follows(before: WaitingLine, line: WaitingLine) -> bool:
    gap = line.byte_offset - (before.byte_offset + before.byte_count)
    return line.part == before.part and 0 <= gap <= GAP_BYTES
