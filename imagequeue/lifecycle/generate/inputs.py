"""Input images of an edit: fetched before the job may be claimed, loaded before its call starts.

An image that came as data was decoded and stored at submit. One that came as a URL is fetched through the
egress guard and stored under a key of the job (`fetch_inputs.py` is the loop).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

from PIL import Image

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.errors import DestinationRefused, InvalidRequest, ServiceUnavailable
from imagequeue.domain.images import MEDIA_TYPES, ImageRequest, is_url
from imagequeue.domain.upstream import Unavailable
from imagequeue.domain.verdicts import InputRefused
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.deadline import Limits
from imagequeue.egress.errors import BodyTooLarge, DestinationBlocked, EgressError
from imagequeue.egress.redirects import download_image
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.unpacked_download import unpacked_download
from imagequeue.media.gate import INPUTS
from imagequeue.media.inputs import MOST_INPUT_BYTES, prepare_input, prepare_mask
from imagequeue.media.keys import checked_key, input_key
from imagequeue.media.storage import ObjectMissing, Storage

FETCH_SECONDS = 60.0
"""For all images of a job together, so that a slow address does not block its place for longer."""

_MASK = "mask"
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
"""Statuses below 500 after which another fetch may succeed."""


class InputUnavailable(Exception):
    """An input image cannot be fetched now; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Fetches and loads input images and masks."""

    storage: Storage
    downloads: GuardedClient

    def fetch(self, job_id: UUID, request: ImageRequest) -> None:
        """Fetch the images and the mask that are URLs, check, re-encode and store them.

        An image that an earlier try has stored is not fetched again.

        Raises:
            InputRefused: one may not be fetched, is not there, or is not an image within the limits.
            InputUnavailable: one could not be fetched in time; another try may succeed.
            StorageUnavailable: the storage is away.
        """
        until = time.monotonic() + FETCH_SECONDS
        for name, source in _named(request):
            key = _key(job_id, name, source)
            if key != source and not self.storage.exists(key):
                image = self._fetched(name, source, until)
                self.storage.put(key, image.content, image.media_type)

    def store_url(self, name: str, url: str, keep: Callable[[str], None]) -> str:
        """Fetch an image, check and re-encode it, and store it by its content; its key.

        `keep` is called with the key before it is stored, so that the retention leaves it. `name` is `mask`,
        or what messages call the image.

        Raises:
            InputRefused: it may not be fetched, is not there, or is not an image within the limits.
            InputUnavailable: it could not be fetched in time; another try may succeed.
            StorageUnavailable: the storage is away.
        """
        return self._store(self._fetched(name, url, time.monotonic() + FETCH_SECONDS), keep)

    def store_file(self, name: str, storage_key: str, size_bytes: int, keep: Callable[[str], None]) -> str:
        """The same for an object of the storage.

        Raises:
            InputRefused: it is too large, is no longer stored, or is not an image within the limits.
            InputUnavailable: it cannot be prepared now; another try may succeed.
            StorageUnavailable: the storage is away.
        """
        if size_bytes > MOST_INPUT_BYTES:
            raise InputRefused(f"{name}: the file has more than {MOST_INPUT_BYTES // 2**20} MiB")
        prepare = prepare_mask if name == _MASK else prepare_input
        try:
            with INPUTS:
                image = prepare(self.storage.get(storage_key), name=name)
        except ObjectMissing:
            raise InputRefused(f"{name}: the file is no longer stored") from None
        except InvalidRequest as error:
            raise InputRefused(error.message) from error
        except ServiceUnavailable as error:
            raise InputUnavailable(error.message) from error
        return self._store(image, keep)

    def _store(self, image: EncodedImage, keep: Callable[[str], None]) -> str:
        key = input_key(image.content)
        keep(key)
        self.storage.put(key, image.content, image.media_type)
        return key

    def load(
        self, job_id: UUID, request: ImageRequest
    ) -> tuple[tuple[EncodedImage, ...], EncodedImage | None]:
        """Read the input images, in order, and the mask from the storage.

        Raises:
            InputRefused: one is no longer stored.
            StorageUnavailable: the storage is away.
        """
        loaded = {name: self._loaded(name, _key(job_id, name, source)) for name, source in _named(request)}
        mask = loaded.pop(_MASK, None)
        return tuple(loaded.values()), mask

    def _loaded(self, name: str, key: str) -> EncodedImage:
        try:
            return _described(self.storage.get(key))
        except ObjectMissing:
            raise InputRefused(f"{name}: it is no longer stored") from None

    def _fetched(self, name: str, url: str, until: float) -> EncodedImage:
        prepare = prepare_mask if name == _MASK else prepare_input
        try:
            limits = Limits(total_seconds=until - time.monotonic())
            with download_image(self.downloads, url, max_bytes=MOST_INPUT_BYTES, limits=limits) as download:
                _require_success(name, download.status)
                failpoint("fetch.fetched")
                with unpacked_download(download, MOST_INPUT_BYTES) as image, INPUTS:
                    return prepare(image.file.read(), name=name)
        except DestinationRefused as error:
            raise InputRefused(f"{name}: {error.message}") from error
        except InvalidRequest as error:
            raise InputRefused(error.message) from error
        except ServiceUnavailable as error:
            raise InputUnavailable(error.message) from error
        except (DestinationBlocked, BodyTooLarge) as error:
            raise InputRefused(f"{name}: it could not be fetched: {error.code}") from error
        except EgressError as error:
            raise InputUnavailable(f"{name}: it could not be fetched: {error.code}") from error
        except Unavailable as error:
            raise InputUnavailable(f"{name}: it could not be fetched: {error.reason}") from error


def _require_success(name: str, status: int) -> None:
    if status == HTTPStatus.OK:
        return
    passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING
    refusal = InputUnavailable if passing else InputRefused
    raise refusal(f"{name}: fetching it was answered with status {status}")


def fetched_keys(job_id: UUID, request: ImageRequest) -> list[str]:
    """The keys of a job's input images that were fetched from URLs; no other job uses them."""
    keys = ((_key(job_id, name, source), source) for name, source in _named(request))
    return [key for key, source in keys if key != source]


def _named(request: ImageRequest) -> Iterator[tuple[str, str]]:
    """The name of each image, for messages and keys, with its storage key or URL."""
    for number, source in enumerate(request.input_images, start=1):
        yield f"image_{number}", source
    if request.mask:
        yield _MASK, request.mask


def _key(job_id: UUID, name: str, source: str) -> str:
    """The storage key of an input image once it was fetched."""
    return checked_key(f"inputs/fetched/{job_id}/{name}") if is_url(source) else source


def _described(content: bytes) -> EncodedImage:
    """Describe an image that we stored ourselves, so only its header is read."""
    with Image.open(io.BytesIO(content)) as image:
        media_type = MEDIA_TYPES["jpeg" if image.format == "JPEG" else "png"]
        return EncodedImage(content, media_type, image.width, image.height)
