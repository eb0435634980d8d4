"""Tries on a bucket what this service needs of it, and says what the server does or what is done instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from imagequeue.media import s3_errors
from imagequeue.media.bucket import S3Storage
from imagequeue.media.keys import OUTPUT_PREFIX
from imagequeue.media.s3_client import download, open_client
from imagequeue.media.s3_errors import failures
from imagequeue.media.storage import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONTENT: Final = b"imagequeue storage init"
_TYPE: Final = "image/png"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one step. `works`: nothing has to be done instead, and nothing is open to strangers."""

    step: str
    works: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class BucketTrial:
    """Tries one bucket. `public`: strangers are meant to read output images."""

    storage: S3Storage
    public: bool

    def findings(self) -> Iterator[Finding]:
        """Try everything; the objects that it takes are deleted.

        Raises:
            StorageUnavailable: the server does not answer, or objects cannot be stored and read.
        """
        number = uuid4()
        output, own = f"{OUTPUT_PREFIX}trial-{number}", f"inputs/trial-{number}"
        yield self._conditional_put()
        for key in (output, own):
            self.storage.put(key, _CONTENT, _TYPE)
        try:
            if self.storage.get(output) != _CONTENT:
                raise StorageUnavailable("S3: an object has other bytes than were put")
            yield self._missing_key(f"{output}-missing")
            yield self._part(output)
            yield from self._presigned(output)
            yield from self._strangers(output, own)
            yield self._bulk_delete(own)
        finally:
            self.storage.delete(output, own)

    def _conditional_put(self) -> Finding:
        if self.storage.honours_conditions():
            return Finding("conditional put", True, "The server refuses to replace an object.")
        return Finding(
            "conditional put",
            False,
            "The server replaces objects although it is asked not to (If-None-Match): each key is looked up"
            " before it is written. Only a process that was taken for dead could still replace an image, by"
            " another one of the same call.",
        )

    def _missing_key(self, key: str) -> Finding:
        with failures():
            try:
                self.storage.client.head_object(Bucket=self.storage.bucket, Key=self.storage.name(key))
            except ClientError as error:
                told = s3_errors.is_missing(error)
                if not told and not s3_errors.may_be_missing(error):
                    raise
            else:
                raise StorageUnavailable("S3: the server says that an object is there which was never put")
        if told:
            return Finding("missing key", True, "The server says when an object is not there.")
        return Finding(
            "missing key",
            False,
            "The server answers 403 for an object that is not there: another one is read to tell whether this"
            " user may read. Give the user s3:ListBucket to save that request.",
        )

    def _part(self, key: str) -> Finding:
        try:
            works = self.storage.read(key, 6, 5) == _CONTENT[6:11]
        except StorageUnavailable:
            works = False
        if works:
            return Finding("part of an object", True, "The server sends parts of objects.")
        return Finding(
            "part of an object",
            False,
            "The server sends no parts of objects (Range), and nothing is done instead: answers that have"
            " images as base64 are 503. Use another server.",
        )

    def _presigned(self, key: str) -> Iterator[Finding]:
        url = self.storage.client.generate_presigned_url(
            "get_object", Params={"Bucket": self.storage.bucket, "Key": self.storage.name(key)}, ExpiresIn=60
        )
        with failures():
            status, media_type, content = download(url)
        if status == HTTPStatus.OK and content == _CONTENT:
            yield Finding("presigned URL", True, "Presigned URLs can be downloaded.")
            yield _media_type(media_type)
        else:
            yield Finding(
                "presigned URL",
                False,
                f"A presigned URL was answered with {status}: without IMAGEQUEUE_MEDIA_BASE_URL no image can"
                " be downloaded. Use another server, or let strangers read and set the base URL.",
            )

    def _strangers(self, output: str, own: str) -> Iterator[Finding]:
        stranger = _Stranger(open_client(self.storage.endpoint_url, anonymous=True), self.storage)
        reads = stranger.reads(output)
        yield Finding(
            "strangers: images", reads == self.public, _images_sentence(reads=reads, public=self.public)
        )
        if stranger.reads(own):
            yield Finding(
                "strangers: input images", False, "ANYBODY MAY READ INPUT IMAGES: forbid it at the server."
            )
        else:
            yield Finding("strangers: input images", True, "Strangers may not read input images.")
        if stranger.lists():
            yield Finding(
                "strangers: list",
                False,
                "ANYBODY MAY LIST THE BUCKET, and so find every account's images: forbid it at the server.",
            )
        else:
            yield Finding("strangers: list", True, "Strangers may not list the bucket.")

    def _bulk_delete(self, key: str) -> Finding:
        with failures():
            gone = self.storage.deleted_at_once([self.storage.name(key)])
        if gone and not self.storage.exists(key):
            return Finding("bulk delete", True, "The server deletes many objects by one request.")
        return Finding(
            "bulk delete", False, "The server knows no bulk deletes: objects are deleted one by one."
        )


@dataclass(frozen=True, slots=True)
class _Stranger:
    """Somebody without credentials."""

    client: S3Client
    storage: S3Storage

    def reads(self, key: str) -> bool:
        with contextlib.suppress(ClientError, BotoCoreError):
            answer = self.client.get_object(Bucket=self.storage.bucket, Key=self.storage.name(key))
            with contextlib.closing(answer["Body"]) as body:
                return body.read() == _CONTENT
        return False

    def lists(self) -> bool:
        with contextlib.suppress(ClientError, BotoCoreError):
            answer = self.client.list_objects_v2(Bucket=self.storage.bucket, MaxKeys=1)
            return bool(answer.get("Contents"))
        return False


def _media_type(media_type: str) -> Finding:
    if media_type == _TYPE:
        return Finding("media type", True, "Downloads have the media type of the image.")
    return Finding(
        "media type",
        False,
        f"Downloads have the media type {media_type!r}: browsers may save images instead of showing them.",
    )


def _images_sentence(*, reads: bool, public: bool) -> str:
    if reads and public:
        return "Strangers may read images whose URL they have (v1/*): IMAGEQUEUE_MEDIA_BASE_URL may be set."
    if reads:
        return "ANYBODY MAY READ IMAGES whose URL they have, in spite of --private: forbid it at the server."
    return (
        "Strangers may not read images: leave IMAGEQUEUE_MEDIA_BASE_URL unset, unless a CDN reads the bucket"
        " with credentials of its own. Media URLs then lead through the API, which redirects to presigned"
        " ones."
    )
