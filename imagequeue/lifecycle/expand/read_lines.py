"""Before any lock: the text of the next lines is read, and their images are stored."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from imagequeue.domain.batches import LineError
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import InvalidRequest, UnknownModel
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.expand.line_texts import read_texts
from imagequeue.lifecycle.submit.submission import Submission
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload
from imagequeue.runtime import Runtime
from imagequeue.store.batches.expansion import BatchTerms, WaitingLine
from imagequeue.store.batches.inputs import FILE_SCHEME

PREPARE_SECONDS = 5.0
"""After so long a turn goes on with the lines that are read: each may have images for a slow bucket."""

ReadLine = Callable[[bytes, BatchTerms, Catalog], tuple[str, RequestWithUploads]]
"""The dialect that reads a line, and what the line asks for. Raises InvalidRequest, UnknownModel."""


class PreparedLine(NamedTuple):
    """A line that can become a job, or why it cannot: `refusal` and `code` are told to the client."""

    number: int
    submission: Submission | None
    refusal: str | None = None
    code: LineError = LineError.INVALID_REQUEST


@dataclass(frozen=True, slots=True)
class Prepared:
    """Lines that were read, in their order. `unserved`: the next one names a model that the catalog lacks."""

    lines: Sequence[PreparedLine]
    unserved: bool = False


@dataclass(frozen=True, slots=True)
class LinePreparation:
    """Reads lines into what is submitted, with one reading of the catalog."""

    runtime: Runtime
    catalog: Catalog
    read: ReadLine
    clock: Callable[[], float] = time.monotonic

    def prepare(self, batch_id: UUID, terms: BatchTerms, lines: Sequence[WaitingLine]) -> Prepared:
        """Read lines for `PREPARE_SECONDS`, and at least one; each that cannot be read is refused by itself.

        Raises:
            StorageError: a file cannot be read now.
            ServiceUnavailable: input images cannot be stored now.
            DBAPIError: the database is away.
        """
        prepared, until = list[PreparedLine](), self.clock() + PREPARE_SECONDS
        for line, text in zip(
            lines, read_texts(self.runtime.storage, terms.storage_keys, lines), strict=True
        ):
            try:
                prepared.append(PreparedLine(line.number, self._submission(batch_id, terms, text)))
            except UnknownModel:
                return Prepared(prepared, unserved=True)
            except InvalidRequest as error:
                prepared.append(PreparedLine(line.number, None, error.message))
            if self.clock() >= until:
                break
        return Prepared(prepared)

    def _submission(self, batch_id: UUID, terms: BatchTerms, text: bytes) -> Submission:
        dialect, ask = self.read(text, terms, self.catalog)
        return Submission(
            account_id=terms.account_id,
            api_key_id=terms.api_key_id,
            request=self._stored(ask) if ask.has_uploads else ask.request,
            dialect=dialect,
            fingerprint=hashlib.sha256(text).digest(),
            lane=Lane.BACKFILL,
            start_by=terms.start_by,
            webhook_url=terms.line_webhook_url,
            client_headers=terms.client_headers,
            batch_id=batch_id,
            on_unknown=terms.on_unknown,
            notes=ask.written_notes(),
        )

    def _stored(self, ask: RequestWithUploads) -> ImageRequest:
        """The request, with what came as data stored. URLs and files of the account stay as they are."""
        named = [_file_of(image) for image in ask.images]
        mask = _file_of(ask.mask) if ask.mask else None
        sent = tuple(image for image, file in zip(ask.images, named, strict=True) if file is None)
        stored = replace(ask, images=sent, mask=None if mask else ask.mask).store_uploads(self.runtime)
        others = iter(stored.input_images)
        return replace(
            stored, input_images=tuple(file or next(others) for file in named), mask=mask or stored.mask
        )


def _file_of(image: Upload) -> str | None:
    """The `file:` id that a line names instead of an image."""
    return image.source if isinstance(image.source, str) and image.source.startswith(FILE_SCHEME) else None
