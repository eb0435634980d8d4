"""Store images: download, check and store the images of an answer, so that no paid image is lost.

It goes in three steps: `checked` yields the images one by one, `store` puts each into the storage, `finish`
repeats the puts that failed. A put that fails is no failed call: the bytes are spilled to local disk and the
put is repeated until it succeeds. Meanwhile this process reports no free worker slots, so nothing new is
bought that could not be stored (docs/design/pipeline.md, "Storage away").

Two gates limit the threads of a process (`media/gate.py`): `DECODING`, by its cores, and `STORING`, so that a
slow storage delays no decoding. Large images that wait for either are on disk. A process that is asked to
stop leaves spilled images where they are, and the sweep stores them.
"""

from __future__ import annotations

import io
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import IO, cast

import structlog

from imagequeue.domain.backoff import IMAGE_STORING, INPUT_READING
from imagequeue.domain.ids import request_id
from imagequeue.domain.images import OutputFormat
from imagequeue.domain.upstream import Ambiguous, RawImage, Unavailable
from imagequeue.domain.verdicts import StoredImage
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.download import Downloading
from imagequeue.media.gate import DECODING, STORING
from imagequeue.media.images import check_output
from imagequeue.media.keys import output_key
from imagequeue.media.spill import Spill
from imagequeue.media.storage import Storage, StorageUnavailable
from imagequeue.store.attempts.calls import CallTicket

log = structlog.get_logger()


LEAST_DOWNLOAD_SECONDS = 5.0
"""For each image, even if less is left of the call's deadline, because it is paid for."""

IN_MEMORY_BYTES = 256 * 1024
"""A larger image waits on disk: 64 calls in flight must not hold 64 images in memory."""

LEAST_FREE_BYTES = 256 * 1024 * 1024
"""With less room on the disk where images spill, no worker slots are reported."""


class HandedToSweep(Exception):
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
        """Something is wrong with the storage; the storage check finds out when it works again."""
        self.doubted = True

    def trust(self) -> None:
        """The storage check has succeeded."""
        self.doubted = False


@dataclass(frozen=True, slots=True)
class AvailableSlots:
    """How many calls this process can take now: 0 while their images could not be stored."""

    most: int
    health: StorageHealth
    spill: Spill
    stopping: threading.Event

    def __call__(self) -> int:
        """The free worker slots that the next heartbeat reports."""
        return self.most if self.health.works and not self.stopping.is_set() and self._room() else 0

    def _room(self) -> bool:
        try:
            return self.spill.free_bytes() >= LEAST_FREE_BYTES
        except StorageUnavailable as error:
            log.warning("spill_directory_unusable", reason=str(error))
            return False


@dataclass(frozen=True, slots=True)
class Checked:
    """An image of an answer that may be stored; a large one waits on disk. Closing `file` frees it."""

    number: int
    stored: StoredImage
    file: IO[bytes]

    def content(self) -> bytes:
        """Its bytes."""
        self.file.seek(0)
        return self.file.read()


@dataclass(frozen=True, slots=True)
class Postponed:
    """An image whose put failed; `image` is None when its bytes are spilled."""

    stored: StoredImage
    image: Checked | None


@dataclass(slots=True)
class StoringProgress:
    """The images of an answer so far: stored (or sure to be), and postponed."""

    stored: list[StoredImage] = field(default_factory=list[StoredImage])
    postponed: list[Postponed] = field(default_factory=list[Postponed])


@dataclass(frozen=True, slots=True)
class ImageStorer:
    """The verb, with what it needs."""

    storage: Storage
    spill: Spill
    downloading: Downloading
    health: StorageHealth
    stopping: threading.Event
    random: Random = field(default_factory=Random)

    def checked(
        self, ticket: CallTicket, images: Sequence[RawImage], until: float
    ) -> Iterator[Checked | Unavailable | Ambiguous]:
        """The images of an answer, downloaded, checked and converted, one after the other.

        `until` is the call's deadline (seconds of `time.monotonic`); downloads must be over by then. An image
        is Unavailable when it does not decode, Ambiguous when it cannot be downloaded.
        """
        for number, raw in enumerate(images, start=1):
            try:
                yield self._checked(ticket, number, raw, until)
            except (Unavailable, Ambiguous) as error:
                yield error

    def store(
        self, ticket: CallTicket, images: Iterable[Checked | Unavailable | Ambiguous]
    ) -> StoringProgress:
        """Store images as they come; what the storage does not take now is postponed.

        One that is unusable does not prevent that the others are stored, because they are paid for.

        Raises:
            Unavailable, Ambiguous: why the last image cannot be used, if none of them can.
        """
        progress, failure = StoringProgress(), None
        for image in images:
            if isinstance(image, Checked):
                self._put(ticket, image, progress)
            else:
                failure = image
        if failure and not progress.stored:
            raise failure
        return progress

    def finish(self, progress: StoringProgress) -> tuple[StoredImage, ...]:
        """Store what was postponed, however long that takes.

        Raises:
            HandedToSweep: the process stops; what was postponed lies on the local disk.
        """
        for postponed in progress.postponed:
            self.health.failed(+1)
            try:
                self._put_until_it_works(postponed)
            finally:
                self.health.failed(-1)
        return tuple(progress.stored)

    def offer_no_slots(self) -> None:
        """Report no slots until the storage check succeeds; call after call would be given back otherwise.

        It returns when a heartbeat has reported that.
        """
        self.health.doubt()
        self.stopping.wait(INPUT_READING.first_seconds)

    def _checked(self, ticket: CallTicket, number: int, raw: RawImage, until: float) -> Checked:
        output_format: OutputFormat = ticket.parameters["output_format"]
        name = request_id(ticket.model_id, ticket.parameters["operation"], ticket.job_id)
        key = output_key(name, ticket.attempt_id, number, output_format)
        with self._content(raw, until) as file, DECODING:
            image = check_output(file.read(), output_format)
            stored = StoredImage(key, image.media_type, image.width, image.height, len(image.content))
            return Checked(number, stored, _spooled(image.content))

    def _put(self, ticket: CallTicket, image: Checked, progress: StoringProgress) -> None:
        try:
            with STORING:
                self.storage.put(image.stored.storage_key, image.content(), image.stored.media_type)
        except StorageUnavailable as error:
            log.warning("put_failed", storage_key=image.stored.storage_key, reason=str(error))
            spilled = self._spilled(ticket, image)
            progress.postponed.append(Postponed(image.stored, None if spilled else image))
        except BaseException:
            image.file.close()
            raise
        else:
            image.file.close()
        progress.stored.append(image.stored)
        failpoint(f"generate.stored_{image.number}")

    @contextmanager
    def _content(self, image: RawImage, until: float) -> Generator[IO[bytes]]:
        if image.content is not None:
            yield io.BytesIO(image.content)
            return
        until = max(until, time.monotonic() + LEAST_DOWNLOAD_SECONDS)
        with self.downloading.run(image.url or "", until) as download:
            yield cast("IO[bytes]", download.file)

    def _spilled(self, ticket: CallTicket, image: Checked) -> bool:
        stored, note = image.stored, {"attempt_id": str(ticket.attempt_id)}
        try:
            with STORING:
                self.spill.put(stored.storage_key, image.content(), stored.media_type, note)
        except StorageUnavailable as error:
            log.warning("spill_failed", storage_key=stored.storage_key, reason=str(error))
            return False
        image.file.close()
        return True

    def _put_until_it_works(self, postponed: Postponed) -> None:
        failures = 0
        while not self._put_again(postponed):
            failures += 1
            pause = IMAGE_STORING.wait_seconds(failures, self.random)
            if postponed.image is not None:  # nobody but this process has it
                threading.Event().wait(pause)
            elif self.stopping.wait(pause):
                raise HandedToSweep("the storage is away; the image lies on the local disk")

    def _put_again(self, postponed: Postponed) -> bool:
        try:
            with STORING:
                if postponed.image is not None:
                    stored, content = postponed.stored, postponed.image.content()
                    self.storage.put(stored.storage_key, content, stored.media_type)
                    postponed.image.file.close()
                else:
                    self._unspill(postponed.stored.storage_key)
        except StorageUnavailable:
            return False
        return True

    def _unspill(self, key: str) -> None:
        """Store what was spilled; when the file is gone, the sweep has stored it already."""
        waiting = self.spill.find(key)
        if waiting is not None:
            self.storage.put(waiting.key, waiting.content(), waiting.media_type)
            self.spill.remove(waiting.key)
        elif not self.storage.exists(key):
            raise StorageUnavailable(f"{key} is neither spilled nor stored")


def _spooled(content: bytes) -> IO[bytes]:
    """A file of these bytes; in memory while it is small. The caller closes it."""
    file = cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES))  # noqa: SIM115
    file.write(content)
    return file
