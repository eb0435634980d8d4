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

import contextlib
import io
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import IO, cast

import structlog

from imagequeue.domain.backoff import IMAGE_DOWNLOAD, IMAGE_STORING, INPUT_READING, POLLED_DOWNLOAD
from imagequeue.domain.ids import request_id
from imagequeue.domain.upstream import LinkBroken, RawImage, Unavailable
from imagequeue.domain.verdicts import StoredImage
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.available_slots import StorageHealth
from imagequeue.lifecycle.generate.download import Downloading
from imagequeue.media.gate import DECODING, STORING
from imagequeue.media.images import check_output, check_stored
from imagequeue.media.keys import output_key
from imagequeue.media.spill import Spill
from imagequeue.media.storage import KeyConflict, Storage, StorageError, StorageUnavailable
from imagequeue.providers.response import UpstreamResponse
from imagequeue.spooling import Spool
from imagequeue.store.attempts.calls import CallTicket

log = structlog.get_logger()

LEAST_DOWNLOAD_SECONDS = 5.0
"""For each image, even if less is left of the call's deadline, because it is paid for."""

IN_MEMORY_BYTES = 256 * 1024
"""A larger image waits on disk: 64 calls in flight must not hold 64 images in memory."""


class HandedToSweep(Exception):
    """The process stops before an attempt's outcome is stored; the sweep finds what there is of it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An image of an answer that may be stored; a large one waits on disk. Closing `file` frees it."""

    number: int
    stored: StoredImage
    file: Spool

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

    def replace(self, old: StoredImage, new: StoredImage) -> None:
        """Describe an image as it is stored."""
        self.stored[self.stored.index(old)] = new

    def close(self) -> None:
        """Free what is postponed: the same images come again with the next poll."""
        for one in self.postponed:
            if one.image is not None:
                one.image.file.close()


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
    ) -> Iterator[Checked | Unavailable | LinkBroken]:
        """The images of an answer, downloaded, checked and converted, one after the other.

        `until` is the call's deadline (seconds of `time.monotonic`); downloads must be over by then. An image
        is Unavailable when it does not decode, LinkBroken when it cannot be downloaded.
        """
        for number, raw in enumerate(images, start=1):
            try:
                yield self._checked(ticket, number, raw, until)
            except (Unavailable, LinkBroken) as error:
                yield self._of_earlier_poll(ticket, number) or error

    def store(
        self, ticket: CallTicket, images: Iterable[Checked | Unavailable | LinkBroken]
    ) -> StoringProgress:
        """Store images as they come; what the storage does not take now is postponed.

        One that is unusable does not prevent that the others are stored, because they are paid for.

        Raises:
            Unavailable, LinkBroken: why an image cannot be used, if none of them can.
            LinkBroken: one could not be downloaded, and the upstream can be polled for a fresh link.
        """
        progress, failure = StoringProgress(), None
        for image in images:
            if isinstance(image, Checked):
                self._put(ticket, image, progress)
            elif not isinstance(failure, LinkBroken):
                failure = image
        if failure and (not progress.stored or (isinstance(failure, LinkBroken) and ticket.is_polled_again)):
            progress.close()
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
                progress.replace(postponed.stored, self._put_until_it_works(postponed))
            finally:
                self.health.failed(-1)
        return tuple(progress.stored)

    def leave_answer(self, ticket: CallTicket, response: UpstreamResponse) -> None:
        """Leave an answer that cannot be read on the local disk, for the operator."""
        try:
            self.spill.put_aside(str(ticket.attempt_id), response.content())
        except Exception:
            log.exception("answer_not_kept", attempt_id=str(ticket.attempt_id))

    def offer_no_slots(self) -> None:
        """Report no slots until the storage check succeeds; call after call would be given back otherwise.

        It returns when a heartbeat has reported that.
        """
        self.health.doubt()
        self.stopping.wait(INPUT_READING.first_seconds)

    def _checked(self, ticket: CallTicket, number: int, raw: RawImage, until: float) -> Checked:
        with self._content(ticket, raw, until) as file, DECODING:
            return _as_checked(ticket, number, file.read())

    def _of_earlier_poll(self, ticket: CallTicket, number: int) -> Checked | None:
        """An image that this poll did not get, if an earlier one has stored or spilled it: it is paid for."""
        if ticket.upstream_reference is None:
            return None
        key = _key(ticket, number)
        with contextlib.suppress(StorageError, Unavailable):
            waiting = self.spill.find(key)
            content = self.storage.get(key) if waiting is None else waiting.content()
            with DECODING:
                return _as_checked(ticket, number, content)
        return None

    def _put(self, ticket: CallTicket, image: Checked, progress: StoringProgress) -> None:
        try:
            with STORING:
                self.storage.put(image.stored.storage_key, image.content(), image.stored.media_type)
        except KeyConflict:
            image.file.close()
            image = replace(image, stored=self._as_stored(image.stored))
        except Exception as error:  # noqa: BLE001  # the image is paid for, whatever is wrong with the storage
            log.warning("put_failed", storage_key=image.stored.storage_key, reason=_reason(error))
            spilled = self._spilled(ticket, image)
            progress.postponed.append(Postponed(image.stored, None if spilled else image))
        else:
            image.file.close()
        progress.stored.append(image.stored)
        failpoint(f"generate.stored_{image.number}")

    @contextmanager
    def _content(self, ticket: CallTicket, image: RawImage, until: float) -> Generator[IO[bytes]]:
        if image.content is not None:
            yield io.BytesIO(image.content)
            return
        until = max(until, time.monotonic() + LEAST_DOWNLOAD_SECONDS)
        tries = (POLLED_DOWNLOAD if ticket.is_polled_again else IMAGE_DOWNLOAD).tries
        with self.downloading.run(image.url or "", until, tries=tries) as download:
            yield cast("IO[bytes]", download.file)

    def _spilled(self, ticket: CallTicket, image: Checked) -> bool:
        stored, note = image.stored, {"attempt_id": str(ticket.attempt_id)}
        try:
            with STORING:
                self.spill.put(stored.storage_key, image.content(), stored.media_type, note)
        except Exception as error:  # noqa: BLE001  # it stays in memory, and is paid for
            log.warning("spill_failed", storage_key=stored.storage_key, reason=_reason(error))
            return False
        image.file.close()
        return True

    def _as_stored(self, image: StoredImage) -> StoredImage:
        """An image as the storage has it already: somebody else has stored one for the same answer."""
        key = image.storage_key
        log.warning("image_stored_before", storage_key=key)
        with contextlib.suppress(StorageError, Unavailable), DECODING:
            content = self.storage.get(key)
            found = check_stored(content)
            return StoredImage.of(key, found.media_type, (found.width, found.height), content)
        return image

    def _put_until_it_works(self, postponed: Postponed) -> StoredImage:
        failures = 0
        while (stored := self._put_again(postponed)) is None:
            failures += 1
            pause = IMAGE_STORING.wait_seconds(failures, self.random)
            if postponed.image is not None:  # nobody but this process has it
                threading.Event().wait(pause)
            elif self.stopping.wait(pause):
                raise HandedToSweep("the storage is away; the image lies on the local disk")
        return stored

    def _put_again(self, postponed: Postponed) -> StoredImage | None:
        """Put once more; the image as it is stored then, None: the storage did not take it."""
        try:
            with STORING:
                if postponed.image is not None:
                    stored, content = postponed.stored, postponed.image.content()
                    self.storage.put(stored.storage_key, content, stored.media_type)
                    postponed.image.file.close()
                else:
                    self._unspill(postponed.stored.storage_key)
        except KeyConflict:
            return self._as_stored(postponed.stored)
        except Exception as error:  # noqa: BLE001  # as for the first put
            log.warning("put_failed", storage_key=postponed.stored.storage_key, reason=_reason(error))
            return None
        return postponed.stored

    def _unspill(self, key: str) -> None:
        """Store what was spilled; when the file is gone, the sweep has stored it already."""
        waiting = self.spill.find(key)
        if waiting is not None:
            try:
                self.storage.put(waiting.key, waiting.content(), waiting.media_type)
            except KeyConflict:
                self.spill.remove(waiting.key)
                raise
            self.spill.remove(waiting.key)
        elif not self.storage.exists(key):
            raise StorageUnavailable(f"{key} is neither spilled nor stored")


def _key(ticket: CallTicket, number: int) -> str:
    name = request_id(ticket.model_id, ticket.parameters["operation"], ticket.job_id)
    return output_key(name, ticket.attempt_id, number, ticket.parameters["output_format"])


def _as_checked(ticket: CallTicket, number: int, content: bytes) -> Checked:
    image, key = check_output(content, ticket.parameters["output_format"]), _key(ticket, number)
    stored = StoredImage.of(key, image.media_type, (image.width, image.height), image.content)
    return Checked(number, stored, _spooled(image.content))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _spooled(content: bytes) -> Spool:
    """A file of these bytes; in memory while it is small. The caller closes it."""
    file = Spool(IN_MEMORY_BYTES)
    file.write(content)
    return file
