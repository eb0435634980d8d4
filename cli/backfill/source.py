"""The user's file as the lines of a batch: JSONL as it is, CSV with a header, or text with a prompt a line.

What is made of CSV and text has each request in the line in which it stands in the user's file, with empty
lines between, so that errors of the server name lines of that file.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, cast

from cli.backfill.exits import WrongUse
from cli.backfill.names import same_file_key

DEFAULT_MODEL = "microsoft-mai-image-2-5"

MOST_LISTED_CLASHES = 10_000
"""Lines whose names differ only in case that are listed; of more, every file gets its line number."""

_MOST_CELL_CHARACTERS = 8 * 1024 * 1024  # as much as the server takes for a line
_MOST_ERRORS = 20  # that are shown: a screen of them
_DELIMITERS = (",", ";", "\t")
_JSONL = frozenset({".jsonl", ".ndjson"})
_CSV = frozenset({".csv", ".tsv"})
_SIZE = re.compile(r"auto|[0-9]+x[0-9]+")
_COLUMNS = {
    "prompt": "prompt",
    "custom_id": "custom_id",
    "id": "custom_id",
    "model": "model",
    "ratio": "ratio",
    "aspect_ratio": "ratio",
    "format": "output_format",
    "output_format": "output_format",
    "count": "count",
    "n": "count",
    "image_url": "image_url",
}
"""What a column is called, in small letters, and what it says."""


@dataclass(frozen=True, slots=True)
class LineOptions:
    """What lines of CSV and text have that do not say it themselves; None: the option was not given."""

    model: str | None = None
    ratio: str | None = None
    output_format: str | None = None
    count: int | None = None

    def given(self) -> dict[str, Any]:
        """Those that were given."""
        all_four = {
            "model": self.model,
            "ratio": self.ratio,
            "output_format": self.output_format,
            "count": self.count,
        }
        return {name: value for name, value in all_four.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PreparedLines:
    """The file to send, and the lines whose names differ only in case; None: more than are listed.

    `unused` are columns of the CSV that say nothing to this program.
    """

    path: Path
    clashing: list[int] | None
    unused: tuple[str, ...]


def digest_of(path: Path) -> str:
    """The sha256 of the user's file.

    Raises:
        WrongUse: it cannot be read.
    """
    with _opened(path) as file:
        found = sha256()
        while block := file.read(1024 * 1024):
            found.update(block)
    return found.hexdigest()


def prepare(source: Path, target: Path, options: LineOptions) -> PreparedLines:
    """Read the user's file, and write its requests to `target` unless it is JSONL already.

    Raises:
        WrongUse: it cannot be read, is not UTF-8, or a line of it is wrong; the message names the lines.
    """
    suffix = source.suffix.lower()
    if suffix in _JSONL:
        if given := options.given():
            raise WrongUse(f"{source.name} says {', '.join(sorted(given))} itself: leave the option out")
        counted = _CountedNames()
        for number, custom_id in _ids(source):
            counted.add(number, custom_id)
        return counted.prepared(source, source.name)
    if suffix == ".json":
        raise WrongUse(f"{source.name}: one JSON object a line is needed, in a file named .jsonl")
    with _opened(source) as file, target.open("wb") as written:
        lines = _Lines(source.name, options, written)
        text = _decoded(file, source.name)
        unused = lines.table(text) if suffix in _CSV else lines.text(text)
    return lines.names.prepared(target, source.name, unused)


class _CountedNames:
    """Counts requests, and finds those whose names differ only in case, as they come."""

    def __init__(self) -> None:
        self._count = 0
        self._first = dict[bytes, int]()
        self._clashing = set[int]()

    def add(self, number: int, custom_id: str) -> None:
        """Take the request of a line."""
        self._count += 1
        earlier = self._first.setdefault(same_file_key(custom_id), number)
        if earlier != number:
            self._clashing |= {earlier, number}

    def prepared(self, path: Path, name: str, unused: tuple[str, ...] = ()) -> PreparedLines:
        """What was found in the file that the user calls `name`.

        Raises:
            WrongUse: it has no request.
        """
        if not self._count:
            raise WrongUse(f"{name} has no line")
        few = len(self._clashing) <= MOST_LISTED_CLASHES
        return PreparedLines(path, sorted(self._clashing) if few else None, unused)


class _Lines:
    """Writes requests, and counts their `names`."""

    def __init__(self, name: str, options: LineOptions, target: IO[bytes]) -> None:
        self.names = _CountedNames()
        self._name, self._options, self._target = name, options, target
        self._written = 0
        self._errors: list[str] = []

    def text(self, lines: Iterable[str]) -> tuple[str, ...]:
        for number, line in enumerate(lines, 1):
            if prompt := line.strip():
                self._add(number, {"prompt": prompt})
        self._check()
        return ()

    def table(self, lines: Iterator[str]) -> tuple[str, ...]:
        header = next(lines, "")
        delimiter = next((one for one in _DELIMITERS if "prompt" in _names(header, one)), ",")
        columns = _names(header, delimiter)
        if "prompt" not in columns:
            raise WrongUse(f"{self._name} has no column 'prompt': its columns are {', '.join(columns)}")
        meant = [_COLUMNS.get(column) for column in columns]
        if twice := {one for one in meant if one is not None and meant.count(one) > 1}:
            raise WrongUse(f"{self._name} has two columns for {min(twice)}")
        self._rows(csv.reader(lines, delimiter=delimiter, strict=True), meant)
        self._check()
        return tuple(column for column in columns if column not in _COLUMNS)

    def _rows(self, rows: Any, meant: list[str | None]) -> None:
        csv.field_size_limit(_MOST_CELL_CHARACTERS)
        while True:
            number = rows.line_num + 2  # the header is line 1, and the reader has not seen it
            try:
                row = cast("list[str] | None", next(rows, None))
            except csv.Error as error:
                self._refuse(rows.line_num + 1, str(error))
                return
            if row is None:
                return
            if len(row) > len(meant):
                self._refuse(number, "more cells than columns; a cell with a comma needs quotes")
            elif any(cell.strip() for cell in row):
                self._add(number, {one: cell.strip() for one, cell in zip(meant, row, strict=False) if one})

    def _add(self, number: int, cells: dict[str, str]) -> None:
        if not cells.get("prompt"):
            self._refuse(number, "no prompt")
            return
        custom_id = cells.get("custom_id") or f"line-{number:07}"
        try:
            request = self._request(custom_id, cells)
        except ValueError:
            self._refuse(number, f"count {cells['count']!r} is not a number")
            return
        self._target.write(b"\n" * (number - 1 - self._written))
        self._target.write(json.dumps(request, ensure_ascii=False).encode() + b"\n")
        self._written = number
        self.names.add(number, custom_id)

    def _request(self, custom_id: str, cells: dict[str, str]) -> dict[str, Any]:
        said = self._options.given() | {name: value for name, value in cells.items() if value}
        body: dict[str, Any] = {"model": said.get("model", DEFAULT_MODEL), "prompt": said["prompt"]}
        ratio = said.get("ratio", "auto")
        body["size" if _SIZE.fullmatch(ratio) else "aspect_ratio"] = ratio
        if "output_format" in said:
            body["output_format"] = said["output_format"]
        if "count" in said:
            body["n"] = int(said["count"])
        url = "/v1/images/generations"
        if "image_url" in said:
            url, body["images"] = "/v1/images/edits", [{"image_url": said["image_url"]}]
        return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}

    def _refuse(self, number: int, why: str) -> None:
        self._errors.append(f"line {number}: {why}")
        if len(self._errors) >= _MOST_ERRORS:
            self._check()

    def _check(self) -> None:
        if self._errors:
            raise WrongUse("\n  ".join([f"{self._name} cannot be used:", *self._errors]))


def _names(header: str, delimiter: str) -> list[str]:
    row = next(csv.reader([header], delimiter=delimiter), list[str]())
    return [cell.strip().lower() for cell in row]


def _decoded(file: IO[bytes], name: str) -> Iterator[str]:
    """The lines with their ends; a byte order mark is left out."""
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise WrongUse(f"{name} is not UTF-8: line {number}") from None


def _ids(source: Path) -> Iterator[tuple[int, str]]:
    """The ids of a JSONL; the server says what is wrong with lines that have none."""
    with _opened(source) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                read = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except (ValueError, RecursionError):
                read = None
            given = cast("dict[str, Any]", read).get("custom_id") if isinstance(read, dict) else None
            yield number, given if isinstance(given, str) else ""


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror or error}") from None
