"""Keep: an upstream's images are fetched, checked and stored. What was paid for is not lost here.

A put that fails is no failed call. The bytes go to local disk and the put is tried again until it
succeeds; meanwhile this process says that it has no free slots, so nothing new is bought that could not be
stored (pipeline.md, "Storage away").

Decoding is gated by cores (`media/gate.py`), waiting is not: an image waits for its turn, and for the
storage to come back, on disk. A process that is asked to stop leaves it there, and the sweep stores it.
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
from imagequeue.egress.answers import Download
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.errors import BodyTooLarge, DestinationBlocked, EgressError
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


REST_SECONDS = 5.0
DOWNLOAD_TRIES = 3
LEAST_FREE_BYTES = 256 * 1024 * 1024
"""With less room on the disk where images wait, nothing new is bought."""


class LeftBehind(Exception):
    """The process stops before an attempt's outcome is stored; the sweep finds what there is of it."""


@dataclass(slots=True)
class StorageHealth:
    """Whether puts work. While one is failing, or in doubt, the process offers no slots."""

    failing: int = 0
    doubted: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def works(self) -> bool:
        """Whether no put is failing at the moment, and nothing else is known to be wrong."""
        return self.failing == 0 and not self.doubted

    def failed(self, change: int) -> None:
        """Count puts that began (+1) or ceased (-1) to fail."""
        with self._lock:
            self.failing += change

    def doubt(self) -> None:
        """Something is wrong with the storage; a probe finds out when it works again."""
        self.doubted = True

    def trust(self) -> None:
        """A probe has succeeded."""
        self.doubted = False


@dataclass(frozen=True, slots=True)
class Slots:
    """How many calls this process can take now: none while their images could not be stored."""

    most: int
    health: StorageHealth
    spill: Spill
    stopping: threading.Event

    def __call__(self) -> int:
        """The slots to be told with the next heartbeat."""
        return self.most if self.health.works and not self.stopping.is_set() and self._room() else 0

    def _room(self) -> bool:
        try:
            return self.spill.free_bytes() >= LEAST_FREE_BYTES
        except StorageUnavailable as error:
            log.warning("spill_directory_unusable", reason=str(error))
            return False


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
    stopping: threading.Event = field(default_factory=threading.Event)

    def keep(self, ticket: CallTicket, images: Sequence[RawImage]) -> Kept:
        """Check and store the images of an answer; what the storage does not take now is postponed.

        An unusable image does not spoil the others: they are paid, so they are kept.

        Raises:
            Unavailable: none is an image that decodes.
            Ambiguous: none could be downloaded from where the upstream put it.
        """
        kept, failure = Kept(), None
        for number, raw in enumerate(images, start=1):
            try:
                self._keep(ticket, number, raw, kept)
            except (Unavailable, Ambiguous) as error:
                failure = error
        if failure and not kept.stored:
            raise failure
        return kept

    def finish(self, kept: Kept) -> tuple[StoredImage, ...]:
        """Store what was postponed, however long that takes.

        Raises:
            LeftBehind: the process stops; what was postponed lies on the local disk.
        """
        for postponed in kept.postponed:
            self.health.failed(+1)
            try:
                self._put_until_it_works(postponed)
            finally:
                self.health.failed(-1)
        return tuple(kept.stored)

    def rest(self) -> None:
        """Offer no slots until a probe succeeds: the storage is away, call after call would be given back.

        It waits until the heartbeat has said so.
        """
        self.health.doubt()
        self.stopping.wait(REST_SECONDS)

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
        with self._download(image.url or "") as download:
            yield cast("IO[bytes]", download.file)

    def _download(self, url: str) -> Download:
        """Download an image. It is paid, so a broken download is tried again before it is given up."""
        for number in range(1, DOWNLOAD_TRIES):
            try:
                return self._download_once(url)
            except Ambiguous:
                self.stopping.wait(exponential(number, base=0.5, cap=5, random=self.random))
        return self._download_once(url)

    def _download_once(self, url: str) -> Download:
        try:
            destination = check_destination(url, self.policy, Purpose.IMAGE)
            download = self.downloads.download(destination, max_bytes=MOST_OUTPUT_BYTES)
        except (InvalidRequest, DestinationBlocked) as error:
            raise Unavailable("the upstream points to a URL that is refused") from error
        except BodyTooLarge as error:
            raise Unavailable(f"an image has more than {MOST_OUTPUT_BYTES // 2**20} MiB") from error
        except EgressError as error:
            raise Ambiguous(f"the image could not be downloaded: {error.code}") from error
        if download.status == HTTPStatus.OK:
            return download
        with download:
            raise Ambiguous(f"the image could not be downloaded: status {download.status}")

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
            if postponed.image is not None:  # only our memory has it
                threading.Event().wait(pause)
            elif self.stopping.wait(pause):
                raise LeftBehind("the storage is away; the image lies on the local disk")

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
        waiting = self.spill.find(postponed.key)
        if waiting is not None:
            self.storage.put(waiting.key, waiting.content(), waiting.media_type)
            self.spill.remove(waiting.key)
        elif not self.storage.exists(postponed.key):
            raise StorageUnavailable(f"{postponed.key} is neither spilled nor stored")
