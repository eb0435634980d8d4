"""Check the lines of a part in groups: each by itself, against the others of its batch, and earlier ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from imagequeue.domain.batches import Dedupe
from imagequeue.domain.ids import batch_name
from imagequeue.lifecycle.backfill.check_line import CheckedLine, LineCheck, digest_of
from imagequeue.lifecycle.backfill.chunk import ValidLine
from imagequeue.lifecycle.backfill.line_feed import MOST_LINE_BYTES, FileLine
from imagequeue.lifecycle.backfill.refusals import LineRefused
from imagequeue.store.batches import lines as stored
from imagequeue.store.batches.lines import EarlierLine
from imagequeue.store.batches.parts import LeasedPart

MOST_ERRORS = 100
"""A file with so many has one mistake in every line, or is no such file; reading on tells nothing new."""

MOST_LINES = 1_000_000
"""Of one batch."""


def error_of(code: str, message: str, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    """An entry of a batch's errors, as OpenAI has it; `line` is that of the file."""
    return {"code": code, "message": message, "line": line, "param": param}


@dataclass(slots=True)
class PartCheck:
    """Checks the lines of a part in their order. `errors` grows up to `MOST_ERRORS`.

    What it remembers of a line are 16 bytes: a million lines take about 100 MB. The database's unique index
    is the safety net.
    """

    engine: Engine
    part: LeasedPart
    line_check: LineCheck
    errors: list[Mapping[str, Any]]
    seen: set[bytes] = field(default_factory=set[bytes])
    _group: dict[str, int] = field(default_factory=dict[str, int])
    _group_before: dict[str, int] = field(default_factory=dict[str, int])

    def remember(self) -> None:
        """Remember the lines that the batch has in the database."""
        with self.engine.begin() as connection:
            self.seen = {
                digest_of(custom_id) for custom_id in stored.custom_ids(connection, self.part.batch_id)
            }

    @property
    def is_over(self) -> bool:
        """Whether reading on would tell nothing new."""
        return len(self.errors) >= MOST_ERRORS

    def check(self, group: Sequence[FileLine]) -> list[ValidLine]:
        """The lines of a group that can run; what is wrong with the others is added to the errors."""
        self._group_before, self._group = self._group, {}  # which is being written
        found = list[tuple[FileLine, CheckedLine]]()
        for line in group:
            if line.text is None or line.text.strip():
                try:
                    found.append((line, self._checked(line)))
                except LineRefused as error:
                    self._add(line, error)
            if self.is_over:
                break
        return self._against_earlier(found)

    def _checked(self, line: FileLine) -> CheckedLine:
        if line.text is None:
            raise LineRefused(f"The line has more than {MOST_LINE_BYTES // 2**20} MiB", "line_too_long")
        if len(self.seen) >= MOST_LINES:
            raise LineRefused(f"A batch has at most {MOST_LINES} lines", "too_many_lines")
        checked = self.line_check.check(line.text)
        if checked.custom_id_digest in self.seen:
            raise self._duplicate(line, checked.custom_id)
        self.seen.add(checked.custom_id_digest)
        self._group[checked.custom_id] = self._number(line)
        return checked

    def _duplicate(self, line: FileLine, custom_id: str) -> LineRefused:
        first = self._group.get(custom_id) or self._group_before.get(custom_id)
        if first is None:
            with self.engine.begin() as connection:
                first = stored.numbers_of(connection, self.part.batch_id, [custom_id]).get(custom_id)
        there = "in an earlier line" if first is None else f"in line {first}"
        message = f"custom_id: '{custom_id[:100]}' is in line {self._number(line)} and {there}"
        return LineRefused(message, "duplicate_custom_id", "custom_id")

    def _against_earlier(self, found: Sequence[tuple[FileLine, CheckedLine]]) -> list[ValidLine]:
        if self.part.dedupe is not Dedupe.CUSTOM_ID or not found:
            return [ValidLine(line, checked, None) for line, checked in found]
        with self.engine.begin() as connection:
            earlier = stored.earlier_lines(
                connection,
                self.part.account_id,
                self.part.batch_id,
                [checked.custom_id for _, checked in found],
            )
        valid = list[ValidLine]()
        for line, checked in found:
            same = earlier.get(checked.custom_id)
            if same is None or same.body_digest == checked.body_digest:
                valid.append(ValidLine(line, checked, same and same.job_id))
            elif not self.is_over:
                self._add(line, _other_body(line, checked, same))
        return valid

    def _number(self, line: FileLine) -> int:
        return self.part.first_number - 1 + line.number

    def _add(self, line: FileLine, error: LineRefused) -> None:
        self.errors.append(error_of(error.code, error.message, line.number, error.param))


def _other_body(line: FileLine, checked: CheckedLine, earlier: EarlierLine) -> LineRefused:
    return LineRefused(
        f"custom_id: '{checked.custom_id[:100]}' in line {line.number} has another body than in line "
        f"{earlier.number} of {batch_name(earlier.batch_id)}",
        "custom_id_of_another_body",
        "custom_id",
    )
