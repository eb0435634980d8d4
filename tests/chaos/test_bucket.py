"""The storage of a run does what the product asks of an object storage, and refuses puts on demand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from chaos.bucket import Bucket
from imagequeue.media.bucket import S3Storage
from imagequeue.media.bucket_upload import PART_BYTES
from imagequeue.media.storage import KeyConflict, ObjectMissing, StorageUnavailable

KEY = "v1/model_1/attempt/output.png"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "chaos")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with Bucket() as bucket:
        yield bucket


def test_objects_are_stored_once_and_read_whole_or_in_parts(bucket: Bucket) -> None:
    storage = S3Storage("chaos", "run", bucket.url)
    storage.put(KEY, b"0123456789", "image/png")
    assert bucket.objects == {f"run/{KEY}": b"0123456789"}
    assert storage.get(KEY) == b"0123456789"
    assert [storage.read(KEY, begin, 4) for begin in (0, 4, 8)] == [b"0123", b"4567", b"89"]
    assert storage.exists(KEY)
    with pytest.raises(KeyConflict):
        storage.put(KEY, b"other bytes", "image/png")
    storage.delete(KEY)
    assert not storage.exists(KEY)
    with pytest.raises(ObjectMissing):
        storage.read(KEY, 0, 4)


def test_puts_are_refused_while_nothing_else_is(bucket: Bucket) -> None:
    storage = S3Storage("chaos", "run", bucket.url)
    storage.put(KEY, b"0123456789", "image/png")
    bucket.refusing.set()
    with pytest.raises(StorageUnavailable):
        storage.put(f"{KEY}.2", b"x", "image/png")
    assert bucket.refused >= 1
    assert storage.read(KEY, 2, 3) == b"234"


def test_an_object_of_several_parts_is_there_when_its_upload_ends(bucket: Bucket) -> None:
    storage, content = S3Storage("chaos", "run", bucket.url), bytes(range(256)) * (PART_BYTES // 200)
    with storage.upload(KEY, "image/png") as upload:
        upload.write(content)
        assert bucket.objects == {}
        upload.finish()
    assert storage.get(KEY) == content


def test_an_upload_that_breaks_off_leaves_nothing_and_an_old_one_can_be_aborted(bucket: Bucket) -> None:
    storage = S3Storage("chaos", "run", bucket.url)
    with storage.upload(KEY, "image/png") as upload:
        upload.write(bytes(PART_BYTES))
    assert storage.abort_uploads(datetime.now(UTC) + timedelta(hours=1)) == 0
    storage.upload(KEY, "image/png").write(bytes(PART_BYTES))
    assert storage.abort_uploads(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert storage.abort_uploads(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert storage.abort_uploads(datetime.now(UTC) + timedelta(hours=1)) == 0
    assert bucket.objects == {}


def test_what_did_not_come_whole_is_not_kept() -> None:
    with Bucket() as bucket:
        address = urlsplit(bucket.url)
        with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
            connection.sendall(b"PUT /run/a/key HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
        assert bucket.objects == {}
