"""Keep: an upstream's images are fetched, checked and stored. What was paid for is not lost here.

A put that fails is no failed call. The bytes go to local disk and the put is tried again until it
succeeds; meanwhile this process says that it has no free slots, so nothing new is bought that could not be
stored (pipeline.md, "Storage away").
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

import structlog

from imagequeue.domain.backoff import exponential
from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.ids import request_id
from imagequeue.domain.images import OutputFormat
from imagequeue.domain.upstream import Ambiguous, RawImage, Unavailable
from imagequeue.domain.verdicts import StoredImage
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.errors import EgressError
from imagequeue.egress.grammar import Purpose, check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.failpoint import failpoint
from imagequeue.media.images import MOST_OUTPUT_BYTES, check_output
from imagequeue.media.keys import output_key
from imagequeue.media.spill import Spill
from imagequeue.media.storage import Storage, StorageUnavailable
from imagequeue.store.attempts import CallTicket

log = structlog.get_logger()


@dataclass(slots=True)
class StorageHealth:
    """Whether puts work. While one is failing, the process offers no slots."""

    failing: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def works(self) -> bool:
        """Whether no put is failing at the moment."""
        return self.failing == 0

    def failed(self, change: int) -> None:
        """Count puts that began (+1) or ceased (-1) to fail."""
        with self._lock:
            self.failing += change


@dataclass(frozen=True, slots=True)
class Keeper:
    """The verb, with what it needs."""

    storage: Storage
    spill: Spill
    downloads: GuardedClient
    policy: EgressPolicy
    health: StorageHealth = field(default_factory=StorageHealth)
    random: Random = field(default_factory=Random)

    def keep(self, ticket: CallTicket, images: Sequence[RawImage]) -> tuple[StoredImage, ...]:
        """Store every image of an answer.

        Raises:
            Unavailable: one is not an image that decodes.
            Ambiguous: one could not be downloaded from where the upstream put it.
        """
        output_format: OutputFormat = ticket.parameters["output_format"]
        checked = [check_output(self._content(image), output_format) for image in images]
        return tuple(self._put(ticket, number, image) for number, image in enumerate(checked, start=1))

    def _content(self, image: RawImage) -> bytes:
        if image.content is not None:
            return image.content
        try:
            destination = check_destination(image.url or "", self.policy, Purpose.IMAGE)
            with self.downloads.download(destination, max_bytes=MOST_OUTPUT_BYTES) as download:
                if download.status != HTTPStatus.OK:
                    raise Ambiguous(f"the image could not be downloaded: {download.status}")
                return download.file.read()
        except InvalidRequest as error:
            raise Unavailable(f"the upstream points to a URL that is refused: {error.message}") from error
        except EgressError as error:
            raise Ambiguous(f"the image could not be downloaded: {error.code}") from error

    def _put(self, ticket: CallTicket, number: int, image: EncodedImage) -> StoredImage:
        name = request_id(ticket.model_id, ticket.parameters["operation"], ticket.job_id)
        key = output_key(name, ticket.attempt_id, number, ticket.parameters["output_format"])
        self._put_surely(ticket, key, image)
        failpoint(f"generate.stored_{number}")
        return StoredImage(key, image.media_type, image.width, image.height, len(image.content))

    def _put_surely(self, ticket: CallTicket, key: str, image: EncodedImage) -> None:
        try:
            self.storage.put(key, image.content, image.media_type)
        except StorageUnavailable as error:
            log.warning("put_failed", storage_key=key, reason=str(error))
            self.health.failed(+1)
            try:
                self._put_until_it_works(ticket, key, image)
            finally:
                self.health.failed(-1)

    def _put_until_it_works(self, ticket: CallTicket, key: str, image: EncodedImage) -> None:
        self._spill(ticket, key, image)
        failures = 1
        while True:
            pause = exponential(failures, base=0.5, cap=10, random=self.random)
            threading.Event().wait(pause)
            try:
                self.storage.put(key, image.content, image.media_type)
            except StorageUnavailable:
                failures += 1
            else:
                self.spill.remove(key)
                return

    def _spill(self, ticket: CallTicket, key: str, image: EncodedImage) -> None:
        try:
            self.spill.put(key, image.content, image.media_type, {"attempt_id": str(ticket.attempt_id)})
        except StorageUnavailable as error:
            log.warning("spill_failed", storage_key=key, reason=str(error))
