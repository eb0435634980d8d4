"""An object in an S3 bucket that is written part by part: a multipart upload, or a put where it is small."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Self

import structlog
from botocore.exceptions import ClientError

from imagequeue.media import s3_errors
from imagequeue.media.storage import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedMultipartUploadTypeDef, CompletedPartTypeDef

log = structlog.get_logger()

Failures = Callable[[], AbstractContextManager[None]]

PART_BYTES = 8 * 1024 * 1024
"""What is sent at a time: S3 takes parts of 5 MiB or more, and at most 10,000 of them, so 80 GB in all."""


class BucketUpload:
    """An upload of one object; `failures` turns what boto3 raises into StorageUnavailable.

    No condition keeps it from replacing an object: the keys of uploads are made for one upload each.
    """

    def __init__(
        self, client: S3Client, bucket: str, name: str, media_type: str, *, failures: Failures
    ) -> None:
        self._client, self._bucket, self._name, self._media_type = client, bucket, name, media_type
        self._failures = failures
        self._buffer = bytearray()
        self._id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Abort what did not end; while the storage is away that is left to the sweep."""
        if self._id is None:
            return
        try:
            with self._failures():
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._name, UploadId=self._id)
        except StorageUnavailable as error:
            log.warning("upload_not_aborted", key=self._name, reason=str(error))
        self._id = None

    def write(self, content: bytes) -> None:
        """Add bytes; they are sent when they are a part."""
        self._buffer += content
        while len(self._buffer) >= PART_BYTES:
            with self._failures():
                self._send(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]

    def finish(self) -> None:
        """Make the object of its parts."""
        with self._failures():
            if self._id is None:
                self._put()
            else:
                self._complete(self._id)
        self._id = None

    def _put(self) -> None:
        answer = self._client.put_object(
            Bucket=self._bucket, Key=self._name, Body=bytes(self._buffer), ContentType=self._media_type
        )
        s3_errors.require_stored(answer)

    def _complete(self, upload_id: str) -> None:
        if self._buffer:
            self._send(bytes(self._buffer))
        parts: CompletedMultipartUploadTypeDef = {"Parts": self._parts}
        self._client.complete_multipart_upload(
            Bucket=self._bucket, Key=self._name, UploadId=upload_id, MultipartUpload=parts
        )

    def _send(self, part: bytes) -> None:
        if self._id is None:
            begun = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._name, ContentType=self._media_type
            )
            self._id = begun["UploadId"]
        number = len(self._parts) + 1
        sent = self._client.upload_part(
            Bucket=self._bucket, Key=self._name, UploadId=self._id, PartNumber=number, Body=part
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})


def abort_uploads(client: S3Client, bucket: str, prefix: str, before: datetime) -> int:
    """Abort the multipart uploads below a prefix that were begun before then; how many there were.

    Where the server or the user may not list them, they are left to a rule of the bucket.
    """
    try:
        listed = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
    except ClientError as error:
        if s3_errors.is_refusal(error):
            return 0
        raise
    found = [one for one in listed if "Initiated" in one and one["Initiated"] < before]
    for one in found:
        client.abort_multipart_upload(Bucket=bucket, Key=one.get("Key", ""), UploadId=one.get("UploadId", ""))
    return len(found)
