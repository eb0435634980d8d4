"""Batches with files in a storage, for the tests of validation."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from imagequeue import backfill_wiring
from imagequeue.lifecycle.backfill.create import BatchOrder, CreatedBatch, create_batch, new_batch
from imagequeue.lifecycle.backfill.files import begin_upload
from imagequeue.runtime import Runtime
from tests.builders import account

URL = "/v1/images/generations"


def line(custom_id: str, *, url: str = URL, **fields: Any) -> dict[str, Any]:
    """A line that generates an image, unless `fields` of its body say otherwise."""
    body = {"model": "MAI-Image-2.5", "prompt": f"A lighthouse, {custom_id}", **fields}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def written(*lines: Mapping[str, Any]) -> bytes:
    """The lines of a file."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


@dataclass(frozen=True)
class Batches:
    """An account that uploads files and creates batches of them."""

    runtime: Runtime
    account_id: UUID
    api_key_id: UUID

    @classmethod
    def of(cls, runtime: Runtime, name: str = "batcher") -> Batches:
        """A new account."""
        account_id, issued = account(runtime.engine, name, "10")
        return cls(runtime, account_id, issued.id)

    def upload(self, content: bytes) -> UUID:
        """A stored file."""
        upload = begin_upload(self.runtime, self.account_id)
        upload.write(content)
        return upload.finish(purpose="batch", filename="lines.jsonl", expires_seconds=None).id

    def order(
        self, file_id: UUID, *, body: bytes = b"", retry_count: int | None = None, **terms: Any
    ) -> CreatedBatch:
        """A batch of a file that is stored."""
        batch = new_batch(self.account_id, self.api_key_id, file_id, **terms)
        return create_batch(self.runtime, BatchOrder(batch, body, retry_count))

    def create(self, content: bytes, **terms: Any) -> UUID:
        """A new batch, which is not validated yet."""
        return self.order(self.upload(content), **terms).batch_id

    def validated(self, content: bytes, **terms: Any) -> UUID:
        """A batch whose validation has ended."""
        batch_id = self.create(content, **terms)
        self.validate()
        return batch_id

    def validate(self) -> None:
        """Validate until nothing waits for it."""
        validation = backfill_wiring.validation(self.runtime, threading.Event())
        while validation.run_once():
            pass

    def row(self, statement: str, batch_id: UUID) -> Any:
        """The one row of a query about a batch, which it calls `:id`."""
        with self.runtime.engine.connect() as connection:
            return connection.execute(text(statement), {"id": batch_id}).one()

    def state(self, batch_id: UUID) -> str:
        """The state of a batch."""
        return self.row("SELECT state FROM batches WHERE id = :id", batch_id).state

    def counts(self, batch_id: UUID) -> dict[str, int]:
        """Its counters that are not zero."""
        found = self.row("SELECT * FROM batch_counters WHERE batch_id = :id", batch_id)._asdict()
        return {name: value for name, value in found.items() if value and name != "batch_id"}

    def errors(self, batch_id: UUID) -> list[dict[str, Any]]:
        """The errors of its file."""
        return self.row("SELECT errors FROM batch_parts WHERE batch_id = :id AND part = 1", batch_id).errors

    def lines(self, batch_id: UUID) -> Iterator[Any]:
        """Its lines by number, each with the requirement of its flow."""
        statement = text("""
            SELECT batch_lines.*, requirement, model_id
            FROM batch_lines LEFT JOIN flows ON flows.id = flow_id
            WHERE batch_lines.batch_id = :id ORDER BY number
        """)
        with self.runtime.engine.connect() as connection:
            yield from connection.execute(statement, {"id": batch_id}).all()
