"""Input images of an edit, ready for the upstream before its slot comes.

What came as data was decoded and stored at submit. A URL is fetched once, through the egress guard, and kept
under the job's name: an attempt that was given back because fetching took too long finds it there next time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

from PIL import Image

from imagequeue.domain.encoded import EncodedImage
from imagequeue.domain.errors import InvalidRequest
from imagequeue.domain.images import MEDIA_TYPES, ImageRequest
from imagequeue.domain.verdicts import InputRefused
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.errors import EgressError
from imagequeue.egress.grammar import Purpose, check_destination
from imagequeue.egress.policy import EgressPolicy
from imagequeue.media.gate import DECODING
from imagequeue.media.inputs import MOST_INPUT_BYTES, prepare_input, prepare_mask
from imagequeue.media.keys import checked_key
from imagequeue.media.storage import ObjectMissing, Storage

_MASK = "mask"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Loads input images and masks."""

    storage: Storage
    downloads: GuardedClient
    policy: EgressPolicy

    def fetch(self, job_id: UUID, request: ImageRequest) -> None:
        """Fetch the images and the mask that are URLs, unless an earlier attempt has done so.

        Raises:
            InputRefused: one cannot be fetched, or is not an image within the limits.
            StorageUnavailable: the storage is away.
        """
        for name, source in _named(request):
            key = _key(job_id, name, source)
            if key != source and not self.storage.exists(key):
                image = self._fetched(name, source)
                self.storage.put(key, image.content, image.media_type)

    def load(
        self, job_id: UUID, request: ImageRequest
    ) -> tuple[tuple[EncodedImage, ...], EncodedImage | None]:
        """The input images, in order, and the mask; all lie in the storage.

        Raises:
            InputRefused: one is not there any more.
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

    def _fetched(self, name: str, url: str) -> EncodedImage:
        prepare = prepare_mask if name == _MASK else prepare_input
        try:
            destination = check_destination(url, self.policy, Purpose.IMAGE)
            with self.downloads.download(destination, max_bytes=MOST_INPUT_BYTES) as download:
                if download.status != HTTPStatus.OK:
                    raise InputRefused(f"{name}: fetching it was answered with status {download.status}")
                with DECODING:
                    return prepare(download.file.read(), name=name)
        except InvalidRequest as error:
            raise InputRefused(error.message) from error
        except EgressError as error:
            raise InputRefused(f"{name}: it could not be fetched: {error.code}") from error


def fetched_keys(job_id: UUID, request: ImageRequest) -> list[str]:
    """Where the inputs of a job lie that were fetched from URLs; no other job has them."""
    keys = ((_key(job_id, name, source), source) for name, source in _named(request))
    return [key for key, source in keys if key != source]


def _named(request: ImageRequest) -> Iterator[tuple[str, str]]:
    """Names for messages and keys, with where the images are: storage keys or URLs."""
    for number, source in enumerate(request.input_images, start=1):
        yield f"image_{number}", source
    if request.mask:
        yield _MASK, request.mask


def _key(job_id: UUID, name: str, source: str) -> str:
    """Where an input lies in the storage, once it was fetched."""
    return checked_key(f"inputs/fetched/{job_id}/{name}") if "://" in source else source


def _described(content: bytes) -> EncodedImage:
    """What we stored ourselves is an image already; only its header is read."""
    with Image.open(io.BytesIO(content)) as image:
        media_type = MEDIA_TYPES["jpeg" if image.format == "JPEG" else "png"]
        return EncodedImage(content, media_type, image.width, image.height)
