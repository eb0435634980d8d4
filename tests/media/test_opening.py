"""Which storage a URL means."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.media.bucket import S3Storage
from imagequeue.media.local import LocalStorage
from imagequeue.media.opening import open_storage


def test_storage_urls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    absolute, relative = open_storage("file:///srv/media"), open_storage("file://.imagequeue/media")
    bucket = open_storage("s3://images/some/prefix/", "http://127.0.0.1:9000")
    assert isinstance(absolute, LocalStorage)
    assert absolute.directory == Path("/srv/media")
    assert isinstance(relative, LocalStorage)
    assert relative.directory == tmp_path / ".imagequeue/media"
    assert isinstance(bucket, S3Storage)
    assert (bucket.bucket, bucket.prefix) == ("images", "some/prefix/")


@pytest.mark.parametrize(
    "url", ["", "/srv/media", "file://", "s3://", "s3:///x", "gs://bucket", "s3://Not_OK"]
)
def test_other_storage_urls_are_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="IMAGEQUEUE_STORAGE_URL"):
        open_storage(url)
