"""The lines of a batch: in the order in which they finished or in that of the file, by name, by error."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from imagequeue.domain.batches import LineState

_COLUMNS = """
    number, state, finished, custom_id, coalesce(job_id, earlier_job_id) AS job_id, error_code,
    error_message, retries
"""

_FINISHED = text(f"""
    SELECT {_COLUMNS} FROM batch_lines
    WHERE batch_id = :id AND finished > :after
        AND (CAST(:states AS text[]) IS NULL OR state = ANY(CAST(:states AS text[])))
    ORDER BY finished LIMIT :most
""")  # noqa: S608  # the columns are constants, as below

_LINES = text(f"""
    SELECT {_COLUMNS} FROM batch_lines
    WHERE batch_id = :id AND number > :after AND number <= (SELECT last_number FROM batches WHERE id = :id)
        AND (CAST(:states AS text[]) IS NULL OR state = ANY(CAST(:states AS text[])))
    ORDER BY number LIMIT :most
""")  # noqa: S608

_NAMED = text(f"""
    SELECT {_COLUMNS} FROM batch_lines
    WHERE batch_id = :id AND custom_id = :custom_id
        AND number <= (SELECT last_number FROM batches WHERE id = :id)
""")  # noqa: S608

# The texts are read of five lines for each code: a million lines may have failed.
_ERRORS = text("""
    SELECT code.error_code, code.count, code.first_number, first.message, first.custom_ids
    FROM (
        SELECT error_code, count(*) AS count, min(number) AS first_number
        FROM batch_lines WHERE batch_id = :id AND error_code IS NOT NULL GROUP BY error_code
    ) AS code
    CROSS JOIN LATERAL (
        SELECT (array_agg(error_message ORDER BY number))[1] AS message,
            array_agg(custom_id ORDER BY number) AS custom_ids
        FROM (
            SELECT number, custom_id, error_message FROM batch_lines
            WHERE batch_id = :id AND error_code = code.error_code ORDER BY number LIMIT 5
        ) AS line
    ) AS first
    ORDER BY count DESC, error_code
""")


@dataclass(frozen=True, slots=True)
class LineView:
    """A line; `job_id` is the job that brought its images: for a skipped line an earlier one."""

    number: int
    state: LineState
    finished: int | None
    custom_id: str
    job_id: UUID | None
    error_code: str | None
    error_message: str | None
    retries: int


@dataclass(frozen=True, slots=True)
class LineErrors:
    """The lines of a batch that ended with one error: how many, and the first of them."""

    error_code: str
    count: int
    first_number: int
    message: str | None
    custom_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class LinePage:
    """Which lines are read: at most `most` behind the number `after`, in these states; None: in any."""

    batch_id: UUID
    after: int
    most: int
    states: Collection[LineState] | None = None

    def values(self) -> dict[str, object]:
        """The parameters of a query."""
        states = None if self.states is None else [state.value for state in self.states]
        return {"id": self.batch_id, "after": self.after, "most": self.most, "states": states}


def finished_lines(connection: Connection, page: LinePage) -> list[LineView]:
    """Lines that finished, in the order in which they did; `after` is the number of their finishing."""
    return [_view(row) for row in connection.execute(_FINISHED, page.values()).mappings()]


def list_lines(connection: Connection, page: LinePage) -> list[LineView]:
    """Lines in the order of the file; `after` is their number."""
    return [_view(row) for row in connection.execute(_LINES, page.values()).mappings()]


def named_line(connection: Connection, batch_id: UUID, custom_id: str) -> list[LineView]:
    """The line with a custom_id, if there is one."""
    rows = connection.execute(_NAMED, {"id": batch_id, "custom_id": custom_id}).mappings()
    return [_view(row) for row in rows]


def errors_by_code(connection: Connection, batch_id: UUID) -> list[LineErrors]:
    """The errors of a batch's lines, the most frequent first. There are few codes, and an index on them."""
    return [LineErrors(**row) for row in connection.execute(_ERRORS, {"id": batch_id}).mappings()]


def _view(row: RowMapping) -> LineView:
    found: dict[str, Any] = dict(row)
    found["state"] = LineState(found["state"])
    return LineView(**found)
