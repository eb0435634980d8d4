"""Whether an S3 server keeps objects immutable when it is asked to, found out by two puts.

With `If-None-Match: *` the second writer of a key gets a 412. Servers that do not know the header refuse the
put (501, 409 and others were seen), or ignore it and replace the object without a word, which no answer to a
real put would show. So each process tries once, with a key that nobody else has.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import ClientError

from imagequeue.media import s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONTENT = b"probe"


class ConditionalPuts:
    """What is known of one bucket. Shared by threads.

    Threads that begin at once each ask: behind a lock they would wait out a server that is away one after the
    other.
    """

    def __init__(self) -> None:
        self._honoured: bool | None = None

    def honoured(self, client: S3Client, bucket: str, prefix: str) -> bool:
        """Whether a put with `If-None-Match: *` replaces nothing. The server is asked until it has said so.

        Raises:
            ClientError: the bucket takes no puts at all; the next call asks again.
        """
        if self._honoured is None:
            self._honoured = _asked(client, bucket, f"{prefix}probes/{uuid4()}")
        return self._honoured


def _asked(client: S3Client, bucket: str, name: str) -> bool:
    try:
        first = _put_new(client, bucket, name)
        if first is not None:
            client.put_object(Bucket=bucket, Key=name, Body=_CONTENT)  # else it is not the condition's fault
            return False
        second = _put_new(client, bucket, name)
        return second is not None and (s3_errors.exists_already(second) or s3_errors.is_conflict(second))
    finally:
        with contextlib.suppress(ClientError):  # a user who may not delete can store images all the same
            client.delete_object(Bucket=bucket, Key=name)


def _put_new(client: S3Client, bucket: str, name: str) -> ClientError | None:
    """Put with the condition; the refusal, None: the server took it."""
    try:
        s3_errors.require_stored(client.put_object(Bucket=bucket, Key=name, Body=_CONTENT, IfNoneMatch="*"))
    except ClientError as error:
        if s3_errors.is_refusal(error):
            return error
        raise
    return None
