"""Check one line of a batch's file: everything by which its submit would be refused, and what it costs.

Lines of one batch are much alike, so what follows from model and requirement is worked out once for each
pair. What is checked only when the line becomes a job: whether its images can be fetched and decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from pydantic_core import to_json

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import DestinationRefused, InvalidRequest, NotFound, UnknownModel
from imagequeue.domain.ids import file_name, split_file_name
from imagequeue.domain.images import Requirement
from imagequeue.egress.grammar import Purpose, check_destination
from imagequeue.lifecycle.backfill.refusals import LineRefused
from imagequeue.lifecycle.submit.routing import require_route
from imagequeue.lifecycle.submit.uploads import RequestWithUploads, Upload
from imagequeue.media_urls import own_storage_key
from imagequeue.runtime import Runtime
from imagequeue.store.batches.files import find_file
from imagequeue.store.batches.inputs import FILE_SCHEME

_DIGEST_BYTES = 16


class ReadRequest(Protocol):
    """A line as its dialect reads it; `identity` is what two lines must share to ask for the same."""

    @property
    def custom_id(self) -> str:
        """What the client calls the line."""
        ...

    @property
    def ask(self) -> RequestWithUploads:
        """What it asks for."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its url and its body."""
        ...


ReadText = Callable[[bytes], ReadRequest]
"""Reads the text of a line. Raises LineRefused, UnknownModel."""


class CheckedLine(NamedTuple):
    """A line that can run. `requirement` is as a flow has it, the digests have 16 bytes."""

    custom_id: str
    model_id: str
    requirement: str
    image_count: int
    price_usd: Decimal
    custom_id_digest: bytes
    body_digest: bytes


class LineCheck:
    """Checks the lines of one batch, with one reading of the catalog."""

    def __init__(self, runtime: Runtime, account_id: UUID, catalog: Catalog, read: ReadText) -> None:
        self._runtime = runtime
        self._account_id = account_id
        self._catalog = catalog
        self._read = read
        self._served: dict[tuple[str, Requirement], tuple[str, Decimal]] = {}
        self._files = set[str]()

    def check(self, text: bytes) -> CheckedLine:
        """Check a line.

        Raises:
            LineRefused: says why it cannot run.
        """
        try:
            line = self._read(text)
            ask = line.ask
            requirement = self._requirement(ask) if ask.has_uploads else ask.request.requirement
            key = ask.request.model_id, requirement
            served = self._served.get(key) or self._serve(*key)
        except UnknownModel as error:
            raise LineRefused(error.message, "model_not_found", "body.model") from None
        return CheckedLine(
            line.custom_id,
            key[0],
            served[0],
            requirement.image_count,
            served[1],
            digest_of(line.custom_id),
            _digest(to_json([line.identity["url"], sorted(line.identity["body"].items())])),
        )

    def _serve(self, model_id: str, requirement: Requirement) -> tuple[str, Decimal]:
        """The requirement as text, and the price of a line that has it."""
        try:
            require_route(self._catalog, model_id, requirement)
        except UnknownModel:
            raise
        except InvalidRequest as error:
            raise LineRefused(error.message, "unsupported", "body") from None
        price = self._catalog.model(model_id).price_usd * requirement.image_count
        return self._served.setdefault((model_id, requirement), (str(requirement), price))

    def _requirement(self, ask: RequestWithUploads) -> Requirement:
        """The requirement that the request has once its images that came as data are stored."""
        uploads = (*ask.images, ask.mask) if ask.mask else ask.images
        fetched = [self._is_fetched(upload) for upload in uploads]  # all of them: each is checked
        return replace(
            ask.request.requirement,
            input_count=len(ask.images),
            has_mask=ask.mask is not None,
            unfetched=any(fetched),
        )

    def _is_fetched(self, upload: Upload) -> bool:
        """Whether a worker fetches the image from a URL, which may be used."""
        source = upload.source
        if isinstance(source, str) and source.startswith(FILE_SCHEME):
            self._require_file(upload.field, source)
        if isinstance(source, bytes) or not source.strip().lower().startswith(("http:", "https:")):
            return False
        if own_storage_key(source.strip(), self._runtime.settings, self._runtime.keyring):
            return False
        try:
            check_destination(source, self._runtime.policy, Purpose.IMAGE)
        except DestinationRefused as error:
            message = f"{upload.field}: {error.message}"
            raise LineRefused(message, "invalid_request", f"body.{upload.field}") from None
        return True

    def _require_file(self, field: str, name: str) -> None:
        """The account has a file that a line names as an image; each is looked up once."""
        if name in self._files:
            return
        try:
            file_id = split_file_name(name.removeprefix(FILE_SCHEME))
        except NotFound as error:
            raise LineRefused(f"{field}: {error.message}", "invalid_request", f"body.{field}") from None
        with self._runtime.engine.begin() as connection:
            if find_file(connection, self._account_id, file_id) is None:
                message = f"{field}: no file '{file_name(file_id)}'"
                raise LineRefused(message, "invalid_request", f"body.{field}")
        self._files.add(name)


def digest_of(custom_id: str) -> bytes:
    """The 16 bytes by which duplicates are found."""
    return _digest(custom_id.encode())


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
