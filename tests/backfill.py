"""A batch whose file is in the storage, and the verbs that run it, driven by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from imagequeue import backfill_wiring
from imagequeue.dialects.lines import LineTerms, read_line
from imagequeue.domain.batches import LineState
from imagequeue.domain.ids import new_id
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.expand.expand import Expander
from imagequeue.lifecycle.supervise.supervise import EndFiles
from imagequeue.store.batches.lines import NewLine, copy_lines
from imagequeue.store.jobs.flows import follow_batch
from imagequeue.store.jobs.insert import FlowKey, flow_ids
from tests.builders import MODEL
from tests.pipeline import Pipeline

URL = "/v1/images/generations"

_FILE = text("""
    INSERT INTO files (id, account_id, purpose, filename, storage_key, size_bytes, sha256, stored_at)
    VALUES (:file_id, :account_id, 'batch', 'lines.jsonl', :key, :size, sha256('x'), clock_timestamp())
""")
_BATCH = text("""
    INSERT INTO batches (id, account_id, api_key_id, state, input_file_id, fingerprint, request_digest,
        last_number, in_progress_at)
    VALUES (:id, :account_id, :key_id, 'in_progress', :file_id, 'f', 'r', :count, clock_timestamp())
""")
_PART = text("""
    INSERT INTO batch_parts (batch_id, part, file_id, state, first_number, line_count, finished_at)
    VALUES (:id, 1, :file_id, 'valid', 1, :count, clock_timestamp())
""")
_COUNTERS = text("INSERT INTO batch_counters (batch_id, total, waiting) VALUES (:id, :count, :count)")


def body(number: int, **more: Any) -> dict[str, Any]:
    """The body of a line."""
    return {"model": MODEL, "prompt": f"line {number}", **more}


def _no_files(_: UUID) -> EndFiles:
    return EndFiles()


@dataclass
class Backfill:
    """The verbs of batches on a pipeline. `with_files`: a batch ends when its result files are written."""

    pipeline: Pipeline
    with_files: bool = False
    wakes: int = 0
    expander: Expander = field(init=False)

    def __post_init__(self) -> None:
        runtime = self.pipeline.runtime
        dispatch = self.pipeline.dispatch
        self.expander = backfill_wiring.expander(runtime, lambda: dispatch.eligibility, self._wake)
        write = backfill_wiring.written_files(runtime) if self.with_files else _no_files
        self.supervision = backfill_wiring.supervision(runtime, self.pipeline.settlement, write)
        self.control = backfill_wiring.batch_control(runtime)
        self.inputs = backfill_wiring.batch_inputs(runtime)

    def create(self, bodies: Sequence[Mapping[str, Any]], url: str = URL, **terms: Any) -> UUID:
        """A batch of the pipeline's account, as validation leaves it; keywords are columns."""
        pipeline, batch_id, file_id = self.pipeline, new_id(), new_id()
        lines = [
            json.dumps({"custom_id": f"line-{number}", "method": "POST", "url": url, "body": given}).encode()
            for number, given in enumerate(bodies, 1)
        ]
        key = f"files/{file_id}"
        pipeline.runtime.storage.put(key, b"\n".join(lines), "application/jsonl")
        (api_key,) = pipeline.rows(
            "SELECT id FROM api_keys WHERE account_id = :id ORDER BY id LIMIT 1", id=pipeline.account_id
        )
        values = {
            "id": batch_id, "file_id": file_id, "account_id": pipeline.account_id, "key_id": api_key.id,
            "key": key, "size": sum(map(len, lines)), "count": len(lines),
        }  # fmt: skip
        with pipeline.runtime.engine.begin() as connection:
            for statement in (_FILE, _BATCH, _PART, _COUNTERS):
                connection.execute(statement, values)
            self._copy(connection, batch_id, lines)
            change = ", ".join(f"{name} = :{name}" for name in {"weight": 1, **terms})
            statement = text(f"UPDATE batches SET {change} WHERE id = :id")  # noqa: S608  # names of columns
            connection.execute(statement, {"weight": 1, **terms, "id": batch_id})
            follow_batch(connection, batch_id)
        return batch_id

    def run(self) -> None:
        """Expand, call and supervise until nothing moves any more."""
        while self.step():
            pass

    def step(self) -> int:
        """Everything once; how much moved."""
        moved = self.expand() + self.inputs.run_once()
        self.pipeline.beat()
        while released := self.pipeline.dispatch.run_once():
            self.pipeline.answer()
            moved += released
        return moved + self.supervision.run_once()

    def expand(self) -> int:
        """A pass of the expander that uses no cursor."""
        self.expander.whole_at = float("-inf")
        return self.expander.run_once()

    def state(self, batch_id: UUID) -> tuple[str, set[str]]:
        """The state of a batch, and the reasons of its pause."""
        (row,) = self.pipeline.rows("SELECT state, reasons FROM batches WHERE id = :id", id=batch_id)
        return row.state, set(row.reasons)

    def counts(self, batch_id: UUID) -> dict[str, Any]:
        """The counters that are not 0; they must be what the lines say."""
        (row,) = self.pipeline.rows("SELECT * FROM batch_counters WHERE batch_id = :id", id=batch_id)
        counted = dict(row._mapping)  # pyright: ignore[reportPrivateUsage]
        found = self.pipeline.rows(
            "SELECT state, count(*)::int AS lines FROM batch_lines WHERE batch_id = :id GROUP BY 1",
            id=batch_id,
        )
        states = {one.state: one.lines for one in found}
        assert {name: counted[name] for name in LineState if counted[name]} == states
        return {name: value for name, value in counted.items() if value and name != "batch_id"}

    def lines(self, batch_id: UUID) -> list[Any]:
        """The lines of a batch in their order."""
        return self.pipeline.rows(
            "SELECT * FROM batch_lines WHERE batch_id = :id ORDER BY number", id=batch_id
        )

    def result_lines(self, file_id: UUID | None) -> list[Any]:
        """The lines of a result file; none where there is no file."""
        if file_id is None:
            return []
        (file,) = self.pipeline.rows("SELECT * FROM files WHERE id = :id", id=file_id)
        content = self.pipeline.runtime.storage.get(file.storage_key)
        assert (file.purpose, file.size_bytes) == ("batch_output", len(content))
        return [json.loads(line) for line in content.splitlines()]

    def _copy(self, connection: Connection, batch_id: UUID, lines: Sequence[bytes]) -> None:
        catalog, offset, new = self.pipeline.runtime.catalog, 0, list[NewLine]()
        for number, line in enumerate(lines, 1):
            ask = read_line(line, LineTerms(), catalog).ask
            sources = tuple(str(image.source) for image in ask.images)
            request = replace(ask.request, input_images=sources)
            key = FlowKey(
                self.pipeline.account_id, request.model_id, str(request.requirement), Lane.BACKFILL, batch_id
            )
            flow = flow_ids(connection, [key])[key]
            new.append(
                NewLine(
                    batch_id, number, 1, LineState.WAITING, flow, None, None, offset, len(line),
                    f"line-{number}", None,
                )
            )  # fmt: skip
            offset += len(line) + 1
        copy_lines(connection, new)

    def _wake(self) -> None:
        self.wakes += 1
