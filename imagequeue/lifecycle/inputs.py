"""Input images of an edit, ready for the upstream before its slot comes.

What came as data was decoded and stored at submit. A URL is fetched once, through the egress guard, and kept
under the job's name: an attempt that was given back because fetching took too long finds it there next time.
"""

from __future__ import annotations

import io
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
from imagequeue.media.inputs import MOST_INPUT_BYTES, prepare_input
from imagequeue.media.keys import checked_key
from imagequeue.media.storage import ObjectMissing, Storage


@dataclass(frozen=True, slots=True)
class Inputs:
    """Loads input images and masks."""

    storage: Storage
    downloads: GuardedClient
    policy: EgressPolicy

    def load(
        self, job_id: UUID, request: ImageRequest
    ) -> tuple[tuple[EncodedImage, ...], EncodedImage | None]:
        """The input images, in order, and the mask.

        Raises:
            InputRefused: one cannot be fetched, or is not an image within the limits.
            StorageUnavailable: the storage is away.
        """
        named = enumerate(request.input_images, start=1)
        images = tuple(self._load(job_id, f"image_{number}", source) for number, source in named)
        return images, self._load(job_id, "mask", request.mask) if request.mask else None

    def _load(self, job_id: UUID, name: str, source: str) -> EncodedImage:
        if "://" not in source:
            return _described(self.storage.get(source))
        key = checked_key(f"inputs/fetched/{job_id}/{name}")
        try:
            return _described(self.storage.get(key))
        except ObjectMissing:
            image = self._fetch(name, source)
        self.storage.put(key, image.content, image.media_type)
        return image

    def _fetch(self, name: str, url: str) -> EncodedImage:
        try:
            destination = check_destination(url, self.policy, Purpose.IMAGE)
            with self.downloads.download(destination, max_bytes=MOST_INPUT_BYTES) as download:
                if download.status != HTTPStatus.OK:
                    raise InputRefused(f"{name}: fetching it was answered with status {download.status}")
                return prepare_input(download.file.read(), name=name)
        except InvalidRequest as error:
            raise InputRefused(error.message) from error
        except EgressError as error:
            raise InputRefused(f"{name}: it could not be fetched: {error.code}") from error


def _described(content: bytes) -> EncodedImage:
    """What we stored ourselves is an image already; only its header is read."""
    with Image.open(io.BytesIO(content)) as image:
        media_type = MEDIA_TYPES["jpeg" if image.format == "JPEG" else "png"]
        return EncodedImage(content, media_type, image.width, image.height)
