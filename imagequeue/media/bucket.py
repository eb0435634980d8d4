"""Objects in an S3 bucket (AWS, SeaweedFS, R2, ...), through boto3; credentials from the usual AWS variables.

Where the server honours `If-None-Match: *` (`conditional_puts.py`), it keeps objects immutable itself. Where
it does not, a key is looked up before it is written. Between the two requests another writer can still put
other bytes. An input image's key is the hash of its content, or one fetch writes it; an output image's key is
written by one attempt, so the second writer is one that was taken for dead while it stored the image.

A user who may not list the bucket is told 403 about a key that is not there, as about one that he may not
read. So a 403 is believed to mean "missing" only after another object below the same first part of the key
could be read. `imagequeue storage init` says all of this about a server (`bucket_setup.py`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from imagequeue.domain.backoff import PUT_CONFLICT
from imagequeue.media import s3_errors
from imagequeue.media.bucket_upload import BucketUpload, abort_uploads
from imagequeue.media.conditional_puts import ConditionalPuts
from imagequeue.media.keys import checked_key
from imagequeue.media.s3_client import open_client
from imagequeue.media.s3_errors import failures
from imagequeue.media.storage import KeyConflict, ObjectMissing, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_DELETED_AT_ONCE = 1000
"""Keys in one `DeleteObjects`: the most that S3 takes."""

_READABLE = "readable"
"""Ends the key of the object that is read to find out what a 403 means."""


class S3Storage:
    """A storage in a bucket, below a prefix. Presigned URLs lead to `presign_endpoint_url`, if given."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint_url: str | None = None,
        presign_endpoint_url: str | None = None,
    ) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.endpoint_url = endpoint_url
        self._presign_endpoint_url = presign_endpoint_url
        self._conditional_puts = ConditionalPuts()

    @cached_property
    def client(self) -> S3Client:
        """The client, shared by threads; made at its first use."""
        return open_client(self.endpoint_url)

    @cached_property
    def _presigner(self) -> S3Client:
        return open_client(self._presign_endpoint_url) if self._presign_endpoint_url else self.client

    def honours_conditions(self) -> bool:
        """Whether the server itself keeps objects immutable; a process asks it once.

        Raises:
            StorageUnavailable: the bucket takes no puts.
        """
        with failures():
            return self._conditional_puts.honoured(self.client, self.bucket, self.prefix)

    def put(self, key: str, content: bytes, media_type: str) -> None:
        with failures():
            if self.honours_conditions():
                self._put_new(key, content, media_type)
            elif self.exists(key):
                self._require_same(key, content)
            else:
                answer = self.client.put_object(
                    Bucket=self.bucket, Key=self.name(key), Body=content, ContentType=media_type
                )
                s3_errors.require_stored(answer)

    def _put_new(self, key: str, content: bytes, media_type: str) -> None:
        """Put where the server refuses to replace; a few times while another put is under way, as it says."""
        for failed in range(PUT_CONFLICT.tries):
            if failed:
                threading.Event().wait(PUT_CONFLICT.full_seconds(failed))
            try:
                answer = self.client.put_object(
                    Bucket=self.bucket,
                    Key=self.name(key),
                    Body=content,
                    ContentType=media_type,
                    IfNoneMatch="*",
                )
            except ClientError as error:
                exists = s3_errors.exists_already(error)
                if not exists and not s3_errors.is_conflict(error):
                    raise
                if exists or self.exists(key):
                    return self._require_same(key, content)
            else:
                return s3_errors.require_stored(answer)
        raise StorageUnavailable(f"S3: other puts of {key} are under way")

    def _require_same(self, key: str, content: bytes) -> None:
        try:
            same = self.get(key) == content
        except ObjectMissing:
            raise StorageUnavailable(f"S3: {key} was deleted while it was put") from None
        if not same:
            raise KeyConflict(f"{key} holds other bytes")

    def get(self, key: str) -> bytes:
        with failures(), self._missing(key):
            return self._content(self.name(key))

    def read(self, key: str, begin: int, size: int) -> bytes:
        wanted = f"bytes={begin}-{begin + size - 1}"
        with failures(), self._missing(key):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=self.name(key), Range=wanted)
            except ClientError as error:
                if s3_errors.is_beyond_the_end(error):
                    return b""
                raise
            with contextlib.closing(answer["Body"]) as body:
                _require_part(answer)
                return body.read()

    def exists(self, key: str) -> bool:
        with failures():
            try:
                with self._missing(key):
                    self.client.head_object(Bucket=self.bucket, Key=self.name(key))
            except ObjectMissing:
                return False
            return True

    def delete(self, *keys: str) -> None:
        names = [self.name(key) for key in keys]
        with failures():
            for begin in range(0, len(names), _DELETED_AT_ONCE):
                some = names[begin : begin + _DELETED_AT_ONCE]
                gone = self.deleted_at_once(some)
                self._delete_singly([name for name in some if name not in gone])

    def deleted_at_once(self, names: Sequence[str]) -> set[str]:
        """Delete by one request; the names of those that the server says are gone.

        Some servers know no bulk deletes, refuse the checksum that one needs, or answer with a page.
        """
        try:
            answer = self.client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": name} for name in names]}
            )
        except (ClientError, ResponseParserError):
            return set()
        return {deleted.get("Key", "") for deleted in answer.get("Deleted", [])}

    def _delete_singly(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                self.client.delete_object(Bucket=self.bucket, Key=name)
            except ClientError as error:
                if not s3_errors.is_missing(error):
                    raise

    def upload(self, key: str, media_type: str) -> BucketUpload:
        return BucketUpload(self.client, self.bucket, self.name(key), media_type, failures=failures)

    def abort_uploads(self, before: datetime) -> int:
        with failures():
            return abort_uploads(self.client, self.bucket, self.prefix, before)

    def url(self, key: str, *, lifetime: timedelta = timedelta(hours=1)) -> str | None:
        """A new presigned URL."""
        with failures():
            return self._presigner.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": self.name(key)},
                ExpiresIn=int(lifetime.total_seconds()),
            )

    def check_room(self) -> None:
        """Nothing to check: a bucket does not fill up."""

    def check_write(self) -> None:
        key = f"probes/{uuid4()}"
        self.put(key, b"probe", "application/octet-stream")
        self.delete(key)

    def name(self, key: str) -> str:
        """The key as the bucket has it: below the prefix."""
        return self.prefix + checked_key(key)

    def _content(self, name: str) -> bytes:
        answer = self.client.get_object(Bucket=self.bucket, Key=name)
        with contextlib.closing(answer["Body"]) as body:
            return body.read()

    @contextlib.contextmanager
    def _missing(self, key: str) -> Generator[None]:
        """Turn the answer that there is no such object into ObjectMissing."""
        try:
            yield
        except ClientError as error:
            if s3_errors.is_missing(error) or (s3_errors.may_be_missing(error) and self._reads_beside(key)):
                raise ObjectMissing(key) from None
            raise

    def _reads_beside(self, key: str) -> bool:
        """Whether this user can read an object beside the key's; it is written where it is not there yet."""
        name = self.name(f"{key.split('/', 1)[0]}/{_READABLE}")
        if self._reads(name):
            return True
        s3_errors.require_stored(self.client.put_object(Bucket=self.bucket, Key=name, Body=b"readable"))
        return self._reads(name)

    def _reads(self, name: str) -> bool:
        try:
            self._content(name)
        except ClientError as error:
            if s3_errors.is_missing(error) or s3_errors.may_be_missing(error):
                return False
            raise
        return True


def _require_part(answer: GetObjectOutputTypeDef) -> None:
    """A service that does not know ranges answers with the whole object, which may be large."""
    if not answer.get("ContentRange"):
        raise StorageUnavailable("S3: the endpoint does not read parts of objects: there is no Content-Range")
