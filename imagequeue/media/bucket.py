"""Objects in an S3 bucket (AWS, MinIO, R2, ...), through boto3; credentials from the usual AWS variables.

The service itself keeps objects immutable: with `If-None-Match: *` the second writer of a key gets a 412. A
service that does not know the header answers 501; there the key is looked up before it is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from imagequeue.media.bucket_upload import BucketUpload, abort_uploads
from imagequeue.media.keys import checked_key
from imagequeue.media.storage import KeyConflict, ObjectMissing, StorageError, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, PutObjectOutputTypeDef

_CONFIG = Config(
    connect_timeout=2,  # seconds, as below: an image that cannot be stored soon goes to the local disk
    read_timeout=10,
    retries={"total_max_attempts": 2, "mode": "standard"},
    max_pool_connections=64,
    signature_version="s3v4",
    # Newer checksum headers are not understood by every service that speaks S3.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
# Error codes. Services differ in whether they give a name or the status.
_MISSING = {"NoSuchKey", "404", "NotFound"}
_EXISTS = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_NO_CONDITIONS = {"NotImplemented", "501"}
_NO_BULK = {"NotImplemented", "501", "MethodNotAllowed", "405", "MissingContentMD5"}
_DELETED_AT_ONCE = 1000
"""Keys in one `DeleteObjects`: the most that S3 takes."""


class S3Storage:
    """A storage in a bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str = "", endpoint_url: str | None = None) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._endpoint_url = endpoint_url

    @cached_property
    def client(self) -> S3Client:
        """The client, shared by threads. Made at its first use: that takes 0.2 s for botocore's files."""
        config = _CONFIG.merge(Config(s3={"addressing_style": "path"})) if self._endpoint_url else _CONFIG
        session = boto3.session.Session()
        return session.client(  # pyright: ignore[reportUnknownMemberType]  # stubs for S3 only
            "s3", endpoint_url=self._endpoint_url, config=config
        )

    def put(self, key: str, content: bytes, media_type: str) -> None:
        with _failures():
            try:
                self._write(key, content, media_type)
            except ClientError as error:
                if _code(error) not in _EXISTS:
                    raise
                if self.get(key) != content:
                    raise KeyConflict(f"{key} holds other bytes") from None

    def _write(self, key: str, content: bytes, media_type: str) -> None:
        name = self._name(key)
        try:
            answer = self.client.put_object(
                Bucket=self.bucket, Key=name, Body=content, ContentType=media_type, IfNoneMatch="*"
            )
        except ClientError as error:
            if _code(error) not in _NO_CONDITIONS:
                raise
            self._write_unconditionally(key, content, media_type)
        else:
            _require_stored(answer)

    def _write_unconditionally(self, key: str, content: bytes, media_type: str) -> None:
        if self.exists(key):
            if self.get(key) != content:
                raise KeyConflict(f"{key} holds other bytes")
            return
        answer = self.client.put_object(
            Bucket=self.bucket, Key=self._name(key), Body=content, ContentType=media_type
        )
        _require_stored(answer)

    def get(self, key: str) -> bytes:
        with _failures(), _missing(key):
            answer = self.client.get_object(Bucket=self.bucket, Key=self._name(key))
            with contextlib.closing(answer["Body"]) as body:
                return body.read()

    def read(self, key: str, begin: int, size: int) -> bytes:
        wanted = f"bytes={begin}-{begin + size - 1}"
        with _failures(), _missing(key):
            answer = self.client.get_object(Bucket=self.bucket, Key=self._name(key), Range=wanted)
            with contextlib.closing(answer["Body"]) as body:
                _require_part(answer)
                return body.read()

    def exists(self, key: str) -> bool:
        with _failures():
            try:
                self.client.head_object(Bucket=self.bucket, Key=self._name(key))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
            return True

    def delete(self, *keys: str) -> None:
        names = [self._name(key) for key in keys]
        with _failures():
            for begin in range(0, len(names), _DELETED_AT_ONCE):
                self._delete(names[begin : begin + _DELETED_AT_ONCE])

    def _delete(self, names: Sequence[str]) -> None:
        """Delete all of them by one request, or one by one where the service cannot do that."""
        try:
            answer = self.client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": name} for name in names], "Quiet": True}
            )
        except ClientError as error:
            if _code(error) not in _NO_BULK:
                raise
            self._delete_singly(names)
        else:
            for failed in answer.get("Errors", []):
                raise StorageUnavailable(f"S3: {failed.get('Key')}: {failed.get('Code')}")

    def _delete_singly(self, names: Sequence[str]) -> None:
        for name in names:
            self.client.delete_object(Bucket=self.bucket, Key=name)

    def upload(self, key: str, media_type: str) -> BucketUpload:
        return BucketUpload(self.client, self.bucket, self._name(key), media_type, failures=_failures)

    def abort_uploads(self, before: datetime) -> int:
        with _failures():
            return abort_uploads(self.client, self.bucket, self.prefix, before)

    def url(self, key: str, *, lifetime: timedelta = timedelta(hours=1)) -> str | None:
        """A new presigned URL."""
        with _failures():
            return self.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": self._name(key)},
                ExpiresIn=int(lifetime.total_seconds()),
            )

    def check_room(self) -> None:
        """Nothing to check: a bucket does not fill up."""

    def check_write(self) -> None:
        key = f"probes/{uuid4()}"
        self.put(key, b"probe", "application/octet-stream")
        self.delete(key)

    def _name(self, key: str) -> str:
        return self.prefix + checked_key(key)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _require_stored(answer: PutObjectOutputTypeDef) -> None:
    """Any web server may answer a PUT with 200; only a service that stored the object names its ETag."""
    if not answer.get("ETag"):
        raise StorageUnavailable("S3: the endpoint does not answer as S3 does: there is no ETag")


def _require_part(answer: GetObjectOutputTypeDef) -> None:
    """A service that does not know ranges answers with the whole object, which may be large."""
    if not answer.get("ContentRange"):
        raise StorageUnavailable("S3: the endpoint does not read parts of objects: there is no Content-Range")


@contextlib.contextmanager
def _missing(key: str) -> Generator[None]:
    """Turn the answer that there is no such object into ObjectMissing."""
    try:
        yield
    except ClientError as error:
        if _code(error) in _MISSING:
            raise ObjectMissing(key) from None
        raise


@contextlib.contextmanager
def _failures() -> Generator[None]:
    """Turn whatever boto3 raises into StorageUnavailable. Its texts hold no credentials.

    Its own errors are not all: an endpoint that is no URL is a ValueError, a page instead of XML an error of
    a parser. An image that meets any of them is paid for, and must wait.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise StorageUnavailable(f"S3: {type(error).__name__}: {error}") from error
