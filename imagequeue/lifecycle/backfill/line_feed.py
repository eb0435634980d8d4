"""The lines of a file in the storage, read from any byte on without more than two blocks in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from imagequeue.media.storage import Storage

BLOCK_BYTES = 4 * 1024 * 1024
"""What is read at a time: 20,000 short lines, and a fraction of a second of any network."""

MOST_LINE_BYTES = 8 * 1024 * 1024
"""Of one line: larger images are named by URL or as a file."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class FileLine(NamedTuple):
    """A line: its number from 1, where its text begins and ends, and the text; None: it is too long.

    The text has neither a byte order mark nor the characters that end the line. `next_byte` begins the next.
    """

    number: int
    begin: int
    end: int
    text: bytes | None
    next_byte: int


def file_lines(
    storage: Storage, key: str, size: int, byte_reached: int = 0, line_reached: int = 0
) -> Iterator[FileLine]:
    """The lines of an object of `size` bytes behind a byte and the line that it ends, empty ones as well.

    Raises:
        StorageError: the storage is away, or the object is not there.
    """
    rest, begin, number, dropped = b"", byte_reached, line_reached, 0
    for at in range(byte_reached, size, BLOCK_BYTES):
        *lines, rest = (rest + storage.read(key, at, BLOCK_BYTES)).split(b"\n")
        for text in lines:
            end = begin + dropped + len(text)
            number += 1
            yield _line(number, begin, end, None if dropped else text)
            begin, dropped = end + 1, 0
        if dropped or len(rest) > MOST_LINE_BYTES:
            dropped, rest = dropped + len(rest), b""
    if rest or dropped:
        yield _line(number + 1, begin, begin + dropped + len(rest), None if dropped else rest)


def _line(number: int, begin: int, end: int, text: bytes | None) -> FileLine:
    after = end + 1
    if text is None or len(text) > MOST_LINE_BYTES:
        return FileLine(number, begin, end, None, after)
    if begin == 0 and text.startswith(_BYTE_ORDER_MARK):
        begin, text = len(_BYTE_ORDER_MARK), text.removeprefix(_BYTE_ORDER_MARK)
    if text.endswith(b"\r"):
        end, text = end - 1, text[:-1]
    return FileLine(number, begin, end, text, after)
