"""Uploads: check and store the input images of a submit, before its job exists.

An image that came as data, or as the media URL of an earlier job, is decoded and stored under the hash of its
content, and the job names it by that key: rows stay small, and the client is told at once about a text file
or an image bomb (docs/design/pipeline.md, "Input images"). Any other URL is checked by every rule that needs
no name look-up; a worker fetches it before the job may be claimed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.errors import DestinationRefused, InvalidRequest, ServiceUnavailable
from imagequeue.domain.images import ImageRequest
from imagequeue.egress.grammar import Purpose, check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.lifecycle.submit.data_urls import data_of
from imagequeue.media.inputs import prepare_input, prepare_mask
from imagequeue.media.keys import input_key
from imagequeue.media.storage import ObjectMissing, StorageUnavailable
from imagequeue.media_urls import own_storage_key
from imagequeue.runtime import Runtime
from imagequeue.spooling import Spool
from imagequeue.store.jobs import input_images

_WEB_URL = re.compile(r"https?:", re.IGNORECASE)
MOST_NOTES_BYTES = 16 * 1024
"""Bytes of JSON that are kept with each job for its dialect: a hundred short fields, and no image."""

_IN_MEMORY_BYTES = 1024 * 1024
"""Bytes of each checked image that wait in memory for the others; sixteen of the largest would be 320 MiB."""

AnswerKind = Literal["id", "job", "stream"]
"""What a submit is answered with: the job's id at once, the final job, or events until the job is final."""

Prepare = Callable[..., EncodedImage]


@dataclass(frozen=True, slots=True)
class Upload:
    """An input image as its client sent it: bytes, or a data: or http(s) URL. `field` is the field's name."""

    field: str
    source: str | bytes


@dataclass(frozen=True, slots=True)
class RequestWithUploads:
    """What a client asks for, with its input images as they came; `request` does not name them yet.

    `notes` are what its dialect wants to know again when it answers, as JSON. `answer` is what the client is
    answered with; None: as the route says.
    """

    request: ImageRequest
    images: tuple[Upload, ...] = ()
    mask: Upload | None = None
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    answer: AnswerKind | None = None

    @property
    def has_uploads(self) -> bool:
        """Whether there is anything to decode or to check."""
        return bool(self.images or self.mask)

    def written_notes(self) -> str | None:
        """The notes as JSON text of at most `MOST_NOTES_BYTES`; None: there are none.

        Raises:
            InvalidRequest: they are longer.
        """
        text = json.dumps(self.notes) if self.notes else None
        if text is not None and len(text) > MOST_NOTES_BYTES:
            raise InvalidRequest("The request has more fields, or longer ones, than can be kept with a job")
        return text

    def store_uploads(self, runtime: Runtime) -> ImageRequest:
        """Store the images that came as data and check the URLs; the request that names both.

        All are checked before the first one is stored, so that a submit that is refused leaves nothing. A job
        must name the stored images within a day, or the retention deletes them. This decodes images and
        writes to the storage, so it must not run in the thread of an event loop.

        Raises:
            InvalidRequest: names the field, and why it is no image or no URL that may be fetched.
            ServiceUnavailable: the storage is away.
            DBAPIError: the database is away.
        """
        if not self.has_uploads:
            return self.request
        with ExitStack() as spools:
            images = [_checked_upload(image, runtime, prepare_input, spools) for image in self.images]
            mask = self.mask and _checked_upload(self.mask, runtime, prepare_mask, spools)
            keys = tuple(_key_or_url(image, runtime) for image in images)
            return replace(self.request, input_images=keys, mask=mask and _key_or_url(mask, runtime))


@dataclass(frozen=True, slots=True)
class _Checked:
    """An image that can be stored: its storage key, its media type, and where it waits."""

    key: str
    media_type: str
    spool: Spool


def _checked_upload(upload: Upload, runtime: Runtime, prepare: Prepare, spools: ExitStack) -> _Checked | str:
    """The image, re-encoded, where it came as data; its URL where it did not.

    The egress guard gets the URL as it was sent, because it refuses spaces and control characters.
    """
    if isinstance(upload.source, bytes):
        content = upload.source
    elif key := own_storage_key(upload.source.strip(), runtime.settings, runtime.keyring):
        content = _earlier(upload.field, key, runtime)
    elif _WEB_URL.match(upload.source.strip()):
        return _checked_url(upload.field, upload.source, runtime.policy)
    else:
        content = data_of(upload.source.strip(), upload.field)
    image, spool = prepare(content, name=upload.field), spools.enter_context(Spool(_IN_MEMORY_BYTES))
    spool.write(image.content)
    return _Checked(input_key(image.content), image.media_type, spool)


def _earlier(field: str, key: str, runtime: Runtime) -> bytes:
    """An image that this service made, read from the storage: its URL is not fetched.

    Whoever has the URL can download the image, so any account may use it.
    """
    try:
        return runtime.storage.get(key)
    except ObjectMissing:
        raise InvalidRequest(f"{field}: the image of the earlier job is no longer stored") from None
    except StorageUnavailable as error:
        raise ServiceUnavailable("Input images cannot be read at the moment; try again") from error


def _key_or_url(image: _Checked | str, runtime: Runtime) -> str:
    """The storage key of an image, which is stored now; or the URL of one that a worker will fetch."""
    if isinstance(image, str):
        return image
    with runtime.engine.begin() as connection:
        input_images.keep(connection, image.key)
    image.spool.seek(0)
    try:
        runtime.storage.put(image.key, image.spool.read(), image.media_type)
    except StorageUnavailable as error:
        raise ServiceUnavailable("Input images cannot be stored at the moment; try again") from error
    return image.key


def _checked_url(field: str, url: str, policy: EgressPolicy) -> str:
    try:
        return check_destination(url, policy, Purpose.IMAGE).url
    except DestinationRefused as error:
        raise DestinationRefused(f"{field}: {error.message}") from None
