"""Answers that hold images: the base64 of each image is read from the storage while the answer is sent.

A dialect writes its answer as text, and where the base64 of an image belongs it writes `OutputImage.base64`,
which is a placeholder here. The text is cut at the placeholders; what stands between them is sent as it is,
and for each placeholder the image is read and encoded piece by piece. So no answer is in memory as a whole.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex
from uuid import UUID

import structlog
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from api.bulkhead import isolated
from api.image_budget import PIECE_BYTES
from api.services import ApiServices
from imagequeue.dialects.dialect import Rendered
from imagequeue.domain.errors import ServiceUnavailable
from imagequeue.domain.job_view import JobView, OutputImage
from imagequeue.media.storage import StorageError

log = structlog.get_logger()

READ_THREADS = 8
"""How many pieces a process reads at a time; a bucket may answer each after tens of milliseconds."""
READ_PATIENCE = 30.0
"""Seconds for a piece: a bucket is tried twice, for 10 s each."""

STALLED_SECONDS = 60.0
"""A client that takes no piece for so long has its answer broken off: others wait for its place."""


class Placeholders:
    """The placeholders of one answer.

    They hold a random number that is made for this answer, and whatever the answer repeats, such as a prompt,
    was written before it; so nothing that a client sent is taken for a placeholder.
    """

    def __init__(self) -> None:
        self._nonce = token_hex(16)
        self._images: Sequence[OutputImage] = ()

    def put_into(self, job: JobView) -> JobView:
        """The job with a placeholder for each of its images."""
        self._images = job.images
        images = [replace(image, base64=self._placeholder(index)) for index, image in enumerate(job.images)]
        return replace(job, images=tuple(images))

    def cut(self, text: str) -> ImageBody:
        """The text with images in the places of their placeholders."""
        found = re.split(rf"image-{self._nonce}-(\d+)\.", text)
        parts = [
            self._images[int(part)] if position % 2 else part.encode("utf-8", "replace")
            for position, part in enumerate(found)
        ]
        return ImageBody(tuple(parts))

    def _placeholder(self, index: int) -> str:
        return f"image-{self._nonce}-{index}."


@dataclass(frozen=True, slots=True)
class ImageBody:
    """A body: texts, and images whose base64 stands between them."""

    parts: Sequence[bytes | OutputImage]

    @property
    def images(self) -> list[OutputImage]:
        """The images, once for each time that they stand there."""
        return [part for part in self.parts if isinstance(part, OutputImage)]

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return sum(len(part) if isinstance(part, bytes) else _encoded(part) for part in self.parts)


def _encoded(image: OutputImage) -> int:
    return (image.size_bytes + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stored image: `size` bytes from the byte number `begin`."""

    storage_key: str
    begin: int
    size: int


class ImageResponse(StreamingResponse):
    """A response that is sent in pieces, each of which the client has to take in time.

    One that cannot be sent to its end is broken off: the connection is closed, so that the client notices.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes], status: int, headers: Mapping[str, str], media_type: str
    ) -> None:
        super().__init__(pieces, status, headers, media_type)
        self._pieces = pieces

    async def stream_response(self, send: Send) -> None:
        """Send it."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STALLED_SECONDS):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except (TimeoutError, ServiceUnavailable) as error:
            log.warning("answer_broken_off", reason=type(error).__name__)
        finally:
            await self._pieces.aclose()  # its place is free now, whenever its memory is


async def image_answer(
    services: ApiServices, account_id: UUID, answer: Rendered, body: ImageBody
) -> Response:
    """The response that a dialect has written with placeholders; `body` is its text, with images there.

    Raises:
        ServiceUnavailable: an image cannot be read.
    """
    await require_images(services, body.images)
    sized = {**answer.headers, "Content-Length": str(body.length)}
    sent = placed_pieces(services, account_id, body)
    return ImageResponse(sent, answer.status, sized, answer.media_type)


async def placed_pieces(services: ApiServices, account_id: UUID, body: ImageBody) -> AsyncGenerator[bytes]:
    """The bytes of a body, in pieces, as soon as there is a place for it."""
    async with services.image_budget.place(account_id):
        async for piece in pieces(services, body):
            yield piece


async def pieces(services: ApiServices, body: ImageBody) -> AsyncGenerator[bytes]:
    """The bytes of a body, in pieces.

    Raises:
        ServiceUnavailable: an image cannot be read any more; what was sent so far is not whole.
    """
    for part in body.parts:
        if isinstance(part, bytes):
            yield part
            continue
        for begin in range(0, part.size_bytes, PIECE_BYTES):
            size = min(PIECE_BYTES, part.size_bytes - begin)
            yield await read_piece(services, Piece(part.storage_key, begin, size))
    yield b""  # asked for once the client has taken what was sent before: until then its place is not free


@isolated(what="reads of images", threads=READ_THREADS, patience=READ_PATIENCE)
def read_piece(services: ApiServices, piece: Piece) -> bytes:
    """The base64 of a piece of an image."""
    try:
        content = services.runtime.storage.read(piece.storage_key, piece.begin, piece.size)
    except StorageError as error:
        raise _unreadable() from error
    if len(content) != piece.size:
        raise _unreadable()
    return b64encode(content)


@isolated(what="reads of images", threads=READ_THREADS, patience=READ_PATIENCE)
def require_images(services: ApiServices, images: Sequence[OutputImage]) -> None:
    """Check that images are there before an answer begins, because one that has begun cannot be refused.

    Raises:
        ServiceUnavailable: one is not.
    """
    storage = services.runtime.storage
    try:
        there = all(storage.exists(key) for key in {image.storage_key for image in images})
    except StorageError as error:
        raise _unreadable() from error
    if not there:
        raise _unreadable()


def _unreadable() -> ServiceUnavailable:
    return ServiceUnavailable("The images cannot be read at the moment; try again")
