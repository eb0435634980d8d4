"""Opens the storage that `IMAGEQUEUE_STORAGE_URL` names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from imagequeue.domain.errors import ConfigurationError
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import Storage

_AWS_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
"""What any S3 server may allow; Ceph has names of up to 255 characters, with capitals and underscores."""


def open_storage(
    storage_url: str, s3_endpoint_url: str | None = None, s3_presign_endpoint_url: str | None = None
) -> Storage:
    """Open `file:///dir`, `file://relative/dir` or `s3://bucket/prefix`. Nothing is touched yet.

    The endpoints are where this program reaches the S3 server (None: AWS), and where presigned URLs lead
    (None: there too).

    Raises:
        ConfigurationError: the URL is none of the three.
    """
    scheme, _, rest = storage_url.partition("://")
    if scheme == "file" and rest:
        return LocalStorage(Path(unquote(rest)))
    parts = urlsplit(storage_url)
    allowed = _BUCKET if s3_endpoint_url else _AWS_BUCKET
    if scheme == "s3" and allowed.fullmatch(parts.netloc):
        from imagequeue.media.bucket import S3Storage  # noqa: PLC0415  # boto3 is slow to load, only S3 needs it

        return S3Storage(parts.netloc, unquote(parts.path), s3_endpoint_url, s3_presign_endpoint_url)
    raise ConfigurationError(
        f"IMAGEQUEUE_STORAGE_URL: {storage_url!r} is neither file:///dir nor s3://bucket/prefix"
    )
