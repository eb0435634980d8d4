"""`manifest.csv`: a row for each image, and one for each line that has none, in the order of finishing.

Rows are appended and made durable before `RunState` counts them; what a killed process has appended beyond
that is cut off when the next one begins. A line that failed and was retried has a second row, until
`settle_retried` leaves the last one.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cli.backfill.directory import BackfillDirectory, RunState
from cli.backfill.images import SavedImage
from imagequeue.failpoint import failpoint

COLUMNS = (
    "line",
    "custom_id",
    "status",
    "image",
    "file",
    "sha256",
    "bytes",
    "width",
    "height",
    "media_type",
    "request_id",
    "line_cost_usd",
    "error",
    "message",
)
_OF_IMAGE = ("sha256", "bytes", "width", "height", "media_type")
_HAVE_IMAGES = frozenset({"completed", "skipped"})


class Manifest:
    """The manifest of a directory, open for what finishes."""

    def __init__(self, directory: BackfillDirectory, state: RunState) -> None:
        self._directory = directory
        self._state = state
        self._adopt_rewritten()
        self._cut()

    def add(self, results: Sequence[Mapping[str, Any]], saved: Sequence[SavedImage]) -> None:
        """Append the rows of results with what was saved of them, and remember the last one's cursor."""
        of_line = dict[int, list[SavedImage]]()
        for one in saved:
            of_line.setdefault(one.wanted.line, []).append(one)
        rows = [row for one in results for row in _rows(one, of_line.get(one["number"], []))]
        with self._directory.manifest.open("ab") as file:
            file.write(_encoded(rows))
            _make_durable(file)
            failpoint("backfill.after_manifest")
            self._state.manifest_bytes = file.tell()
        self._state.cursor = results[-1]["cursor"]
        self._state.missing += sum(one.file is None for one in saved)
        self._directory.save(self._state)

    def settle_retried(self) -> None:
        """Leave only the last row of each line that failed first and has finished again since."""
        superseded = self._superseded()
        if not superseded:
            return
        rewritten = self._rewritten()
        with rewritten.open("wb") as file:
            file.write(_encoded([COLUMNS]))
            for at, row in enumerate(_read(self._directory.manifest)):
                if at not in superseded:
                    file.write(_encoded([[row[name] for name in COLUMNS]]))
            _make_durable(file)
            self._state.manifest_bytes = file.tell()
        self._directory.save(self._state)  # which tells the next process to take the rewritten one
        failpoint("backfill.before_rename")
        rewritten.replace(self._directory.manifest)

    def _superseded(self) -> set[int]:
        """The rows of lines without images that have a later row."""
        last, found = dict[str, int](), set[int]()
        for at, row in enumerate(_read(self._directory.manifest)):
            line = row["line"]
            if line in last:
                found.add(last.pop(line))
            if row["status"] not in _HAVE_IMAGES:
                last[line] = at
        return found

    def _adopt_rewritten(self) -> None:
        rewritten = self._rewritten()
        if rewritten.exists():
            if rewritten.stat().st_size == self._state.manifest_bytes:
                rewritten.replace(self._directory.manifest)
            else:
                rewritten.unlink()

    def _rewritten(self) -> Path:
        return self._directory.path / ".imagequeue.manifest.csv"

    def _cut(self) -> None:
        """Cut off what was not finished; begin again if the file is shorter than it was."""
        with self._directory.manifest.open("ab") as file:
            if file.tell() < self._state.manifest_bytes or self._state.manifest_bytes == 0:
                self._state.begin_again()
                file.truncate(0)
                file.write(_encoded([COLUMNS]))
                _make_durable(file)
                self._state.manifest_bytes = file.tell()
                self._directory.save(self._state)
            file.truncate(self._state.manifest_bytes)


def _rows(result: Mapping[str, Any], saved: Sequence[SavedImage]) -> Iterator[tuple[Any, ...]]:
    error: Mapping[str, Any] = result["error"] or {}
    head = (result["number"], result["custom_id"], result["status"])
    tail = (result["request_id"], result["cost_usd"])
    if not saved:
        yield (*head, *[""] * (2 + len(_OF_IMAGE)), *tail, error.get("code"), error.get("message"))
    for one in saved:
        told = ("not_downloaded", one.error) if one.file is None else ("", "")
        image = [one.wanted.image[name] for name in _OF_IMAGE]
        yield (*head, one.wanted.number, one.file, *image, *tail, *told)


def _encoded(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _read(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogatepass", newline="") as file:
        yield from csv.DictReader(file)


def _make_durable(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
