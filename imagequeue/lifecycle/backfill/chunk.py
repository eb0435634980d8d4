"""A chunk of lines as validation commits it, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from imagequeue.domain.batches import LineState
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.backfill.check_line import CheckedLine
from imagequeue.lifecycle.backfill.line_feed import FileLine
from imagequeue.store.batches.lines import NewLine, copy_lines
from imagequeue.store.batches.parts import LeasedPart, PartProgress
from imagequeue.store.jobs.insert import FlowKey, flow_ids

MOST_LINES = 2000
"""Of one commit: a tenth of a second of work, which is what a killed process repeats."""

MOST_BYTES = 16 * 1024 * 1024
"""Of the texts of one commit, which are in memory; two chunks are at a time."""


class ValidLine(NamedTuple):
    """A line that can run. `earlier_job_id`: it need not, because that job has brought the same."""

    source: FileLine
    checked: CheckedLine
    earlier_job_id: UUID | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """The lines of one commit, and how far the file is read with them."""

    lines: Sequence[ValidLine]
    progress: PartProgress


def gathered(lines: Iterable[FileLine]) -> Iterator[list[FileLine]]:
    """Lines in groups of one commit each."""
    group, size = list[FileLine](), 0
    for line in lines:
        group.append(line)
        size += line.end - line.begin
        if len(group) == MOST_LINES or size >= MOST_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def progressed(
    before: PartProgress,
    group: Sequence[FileLine],
    valid: Sequence[ValidLine],
    errors: Sequence[Mapping[str, Any]],
) -> PartProgress:
    """How far the validation has come with a group."""
    run = [line.checked for line in valid if line.earlier_job_id is None]
    return PartProgress(
        byte_reached=group[-1].next_byte,
        line_reached=group[-1].number,
        line_count=before.line_count + len(valid),
        skipped_count=before.skipped_count + len(valid) - len(run),
        image_count=before.image_count + sum(line.image_count for line in run),
        price_usd=before.price_usd + sum((line.price_usd for line in run), Decimal(0)),
        errors=errors,
    )


@dataclass(slots=True)
class LineWriter:
    """Writes the lines of one part. A flow's id never changes, so each is looked up once."""

    part: LeasedPart
    flows: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def write(self, connection: Connection, chunk: Chunk) -> None:
        """Insert the lines of a chunk, and the flows that are new with it."""
        needed = {(line.checked.model_id, line.checked.requirement) for line in chunk.lines}
        if missing := needed - self.flows.keys():
            keys = {self._key(*one): one for one in missing}
            found = flow_ids(connection, list(keys))
            self.flows |= {keys[key]: flow for key, flow in found.items()}
        before = chunk.progress.skipped_count - sum(line.earlier_job_id is not None for line in chunk.lines)
        copy_lines(connection, self._rows(chunk.lines, before))

    def _key(self, model_id: str, requirement: str) -> FlowKey:
        return FlowKey(self.part.account_id, model_id, requirement, Lane.BACKFILL, self.part.batch_id)

    def _rows(self, lines: Sequence[ValidLine], skipped: int) -> Iterator[NewLine]:
        batch_id, part, before = self.part.batch_id, self.part.part, self.part.first_number - 1
        for line in lines:
            source, checked, earlier = line.source, line.checked, line.earlier_job_id
            number, finished = before + source.number, None
            if earlier is not None:
                skipped += 1
                # Nothing else of a batch finishes while its first part is validated; later it may.
                finished = skipped if part == 1 else -number
            yield NewLine(
                batch_id,
                number,
                part,
                LineState.WAITING if earlier is None else LineState.SKIPPED,
                self.flows[checked.model_id, checked.requirement] if earlier is None else None,
                earlier,
                finished,
                source.begin,
                source.end - source.begin,
                checked.custom_id,
                checked.body_digest,
            )
