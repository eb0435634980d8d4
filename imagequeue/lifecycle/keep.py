"""Keep: an upstream's images are fetched, checked and stored. What was paid for is not lost here.

A put that fails is no failed call. The bytes go to local disk and the put is tried again until it
succeeds; meanwhile this process says that it has no free slots, so nothing new is bought that could not be
stored (pipeline.md, "Storage away").

Decoding is gated by cores (`media/gate.py`), waiting is not: an image waits for its turn, and for the
storage to come back, on disk.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import IO, cast

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
from imagequeue.media.gate import DECODING
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
class Postponed:
    """An image whose put failed; `image` is None when its bytes wait on disk."""

    key: str
    stored: StoredImage
    image: EncodedImage | None


@dataclass(slots=True)
class Kept:
    """What became of an answer's images so far."""

    stored: list[StoredImage] = field(default_factory=list[StoredImage])
    postponed: list[Postponed] = field(default_factory=list[Postponed])


@dataclass(frozen=True, slots=True)
class Keeper:
    """The verb, with what it needs."""

    storage: Storage
    spill: Spill
    downloads: GuardedClient
    policy: EgressPolicy
    health: StorageHealth = field(default_factory=StorageHealth)
    random: Random = field(default_factory=Random)

    def keep(self, ticket: CallTicket, images: Sequence[RawImage]) -> Kept:
        """Check and store the images of an answer; what the storage does not take now is postponed.

        An unusable image does not spoil those before it: they are paid, so they are kept.

        Raises:
            Unavailable: the first one is not an image that decodes.
            Ambiguous: the first one could not be downloaded from where the upstream put it.
        """
        kept = Kept()
        for number, raw in enumerate(images, start=1):
            try:
                self._keep(ticket, number, raw, kept)
            except (Unavailable, Ambiguous):
                if not kept.stored:
                    raise
        return kept

    def finish(self, kept: Kept) -> tuple[StoredImage, ...]:
        """Store what was postponed, however long that takes."""
        for postponed in kept.postponed:
            self.health.failed(+1)
            try:
                self._put_until_it_works(postponed)
            finally:
                self.health.failed(-1)
        return tuple(kept.stored)

    def _keep(self, ticket: CallTicket, number: int, raw: RawImage, kept: Kept) -> None:
        output_format: OutputFormat = ticket.parameters["output_format"]
        with self._content(raw) as file, DECODING:
            image = check_output(file.read(), output_format)
            name = request_id(ticket.model_id, ticket.parameters["operation"], ticket.job_id)
            key = output_key(name, ticket.attempt_id, number, output_format)
            stored = StoredImage(key, image.media_type, image.width, image.height, len(image.content))
            self._put(ticket, image, stored, kept)
        kept.stored.append(stored)
        failpoint(f"generate.stored_{number}")

    @contextmanager
    def _content(self, image: RawImage) -> Generator[IO[bytes]]:
        if image.content is not None:
            yield io.BytesIO(image.content)
            return
        try:
            destination = check_destination(image.url or "", self.policy, Purpose.IMAGE)
            download = self.downloads.download(destination, max_bytes=MOST_OUTPUT_BYTES)
        except InvalidRequest as error:
            raise Unavailable(f"the upstream points to a URL that is refused: {error.message}") from error
        except EgressError as error:
            raise Ambiguous(f"the image could not be downloaded: {error.code}") from error
        with download:
            if download.status != HTTPStatus.OK:
                raise Ambiguous(f"the image could not be downloaded: status {download.status}")
            yield cast("IO[bytes]", download.file)

    def _put(self, ticket: CallTicket, image: EncodedImage, stored: StoredImage, kept: Kept) -> None:
        key = stored.storage_key
        try:
            self.storage.put(key, image.content, image.media_type)
        except StorageUnavailable as error:
            log.warning("put_failed", storage_key=key, reason=str(error))
            spilled = self._spilled(ticket, key, image)
            kept.postponed.append(Postponed(key, stored, None if spilled else image))

    def _spilled(self, ticket: CallTicket, key: str, image: EncodedImage) -> bool:
        try:
            self.spill.put(key, image.content, image.media_type, {"attempt_id": str(ticket.attempt_id)})
        except StorageUnavailable as error:
            log.warning("spill_failed", storage_key=key, reason=str(error))
            return False
        return True

    def _put_until_it_works(self, postponed: Postponed) -> None:
        failures = 0
        while not self._put_again(postponed):
            failures += 1
            pause = exponential(failures, base=0.5, cap=10, random=self.random)
            threading.Event().wait(pause)

    def _put_again(self, postponed: Postponed) -> bool:
        try:
            if postponed.image is not None:
                self.storage.put(postponed.key, postponed.image.content, postponed.image.media_type)
            else:
                self._unspill(postponed)
        except StorageUnavailable:
            return False
        return True

    def _unspill(self, postponed: Postponed) -> None:
        """Store from disk; when the file is gone, the sweep has stored it already."""
        waiting = next((one for one in self.spill.pending() if one.key == postponed.key), None)
        if waiting is not None:
            self.storage.put(waiting.key, waiting.content(), waiting.media_type)
            self.spill.remove(waiting.key)
        elif not self.storage.exists(postponed.key):
            raise StorageUnavailable(f"{postponed.key} is neither spilled nor stored")
