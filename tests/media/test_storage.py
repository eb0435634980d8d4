"""A directory and a bucket keep the same promises."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest

from imagequeue.domain.errors import ConfigurationError
from imagequeue.media.bucket import S3Storage
from imagequeue.media.keys import checked_key, input_key, output_key
from imagequeue.media.local import LocalStorage
from imagequeue.media.opening import open_storage
from imagequeue.media.storage import KeyConflict, ObjectMissing, Storage, StorageUnavailable
from tests.media.pictures import picture

ATTEMPT = UUID("019d0000-0000-7000-8000-000000000001")
KEY = output_key("microsoft-mai-image-2-5_019d", ATTEMPT, 1, "png")


def test_what_is_put_is_got(storage: Storage) -> None:
    storage.put(KEY, picture(), "image/png")
    assert storage.get(KEY) == picture()
    assert storage.exists(KEY)


def test_the_same_bytes_again_are_fine_and_other_bytes_are_not(storage: Storage) -> None:
    storage.put(KEY, b"first", "image/png")
    storage.put(KEY, b"first", "image/png")
    with pytest.raises(KeyConflict):
        storage.put(KEY, b"second", "image/png")
    assert storage.get(KEY) == b"first"


def test_of_many_writers_of_one_key_one_wins(storage: Storage) -> None:
    def put(number: int) -> bool:
        try:
            storage.put(KEY, b"%d" % number, "image/png")
        except KeyConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(put, range(8)))
    assert outcomes.count(True) == 1
    assert storage.get(KEY) == b"%d" % outcomes.index(True)


def test_missing_objects_are_missing(storage: Storage) -> None:
    assert not storage.exists(KEY)
    with pytest.raises(ObjectMissing):
        storage.get(KEY)
    storage.delete(KEY)


def test_deleted_is_gone_and_may_be_written_again(storage: Storage) -> None:
    storage.put(KEY, b"first", "image/png")
    storage.delete(KEY)
    assert not storage.exists(KEY)
    storage.put(KEY, b"second", "image/png")
    assert storage.get(KEY) == b"second"


def test_many_are_deleted_whether_they_are_there_or_not(storage: Storage) -> None:
    keys = [output_key("microsoft-mai-image-2-5_019d", ATTEMPT, number, "png") for number in range(1, 4)]
    for key in keys[:2]:
        storage.put(key, b"x", "image/png")
    storage.delete(*keys)
    storage.delete()
    assert not any(storage.exists(key) for key in keys)


def _answer_bulk(s3: S3Storage, status: int, body: dict[str, object]) -> list[str]:
    """Let the service answer every `DeleteObjects` like that; what it is asked for from now on."""
    asked = list[str]()

    def note(model: Any, **_: object) -> Any:
        asked.append(model.name)
        return (SimpleNamespace(status_code=status), body) if model.name == "DeleteObjects" else None

    s3.client.meta.events.register("before-call.s3", note)
    return asked


def test_more_than_a_request_takes_are_deleted_in_several(s3: S3Storage) -> None:
    asked = _answer_bulk(s3, 200, {})
    s3.delete(*(f"v1/{number}" for number in range(2001)))
    assert asked == ["DeleteObjects"] * 3


def test_a_service_without_bulk_deletes_one_by_one(s3: S3Storage) -> None:
    s3.put("v1/a", b"x", "image/png")
    asked = _answer_bulk(s3, 501, {"Error": {"Code": "NotImplemented"}})
    s3.delete("v1/a", "v1/b")
    assert asked == ["DeleteObjects", "DeleteObject", "DeleteObject"]
    assert not s3.exists("v1/a")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"Errors": [{"Key": "v1/a", "Code": "AccessDenied"}]}),
        (403, {"Error": {"Code": "AccessDenied"}}),
    ],
)
def test_what_a_bulk_did_not_delete_is_told(s3: S3Storage, status: int, body: dict[str, object]) -> None:
    _answer_bulk(s3, status, body)
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        s3.delete("v1/a", "v1/b")


def test_probe_leaves_nothing(storage: Storage) -> None:
    storage.check_write()
    if isinstance(storage, LocalStorage):
        assert [path for path in storage.directory.rglob("*") if path.is_file()] == []
    elif isinstance(storage, S3Storage):
        assert storage.client.list_objects_v2(Bucket=storage.bucket)["KeyCount"] == 0


def test_presigned_urls_are_fresh_and_download_with_the_media_type(s3: S3Storage) -> None:
    s3.put(KEY, picture("webp"), "image/webp")
    first, second = s3.url(KEY), s3.url(KEY, lifetime=timedelta(minutes=1))
    assert first
    assert second
    assert first != second
    answer = httpx.get(first)
    assert (answer.status_code, answer.content) == (200, picture("webp"))
    assert answer.headers["content-type"] == "image/webp"


def test_objects_lie_below_the_prefix(s3: S3Storage) -> None:
    s3.put(KEY, b"x", "image/png")
    names = [entry.get("Key") for entry in s3.client.list_objects_v2(Bucket=s3.bucket).get("Contents", [])]
    assert names == [f"some/prefix/{KEY}"]


def test_a_service_without_conditional_writes_still_refuses_other_bytes(s3: S3Storage) -> None:
    s3._write_unconditionally(KEY, b"first", "image/png")
    s3._write_unconditionally(KEY, b"first", "image/png")
    with pytest.raises(KeyConflict):
        s3._write_unconditionally(KEY, b"second", "image/png")


def _broken_bucket(tmp_path: Path) -> Storage:
    del tmp_path
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return S3Storage("bucket", "", f"http://127.0.0.1:{free.getsockname()[1]}")


def _broken_directory(tmp_path: Path) -> Storage:
    (tmp_path / "file").write_text("not a directory")
    return LocalStorage(tmp_path / "file" / "media")


@pytest.mark.parametrize("broken", [_broken_directory, _broken_bucket])
@pytest.mark.usefixtures("s3")
def test_a_storage_that_is_away_says_so_with_one_error(
    tmp_path: Path, broken: Callable[[Path], Storage]
) -> None:
    storage = broken(tmp_path)
    with pytest.raises(StorageUnavailable):
        storage.put(KEY, b"x", "image/png")
    with pytest.raises(StorageUnavailable):
        storage.check_write()


def test_a_bucket_that_does_not_exist_is_unavailable(s3: S3Storage, s3_endpoint: str) -> None:
    with pytest.raises(StorageUnavailable):
        S3Storage("no-such-bucket", "", s3_endpoint).put(KEY, b"x", "image/png")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "taken").mkdir()
    with pytest.raises(StorageUnavailable):
        storage.put("v1/taken", b"x", "image/png")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../secret", "v1/../../x", "v1//x", "v1/.part", "a\\b", "a\0b", "v1/x/", "ü"]
)
def test_only_keys_are_keys(key: str) -> None:
    with pytest.raises(ValueError, match="storage key"):
        checked_key(key)


def test_key_layout() -> None:
    assert f"v1/microsoft-mai-image-2-5_019d/{ATTEMPT}/output.png" == KEY
    assert output_key("m_1", ATTEMPT, 2, "webp").endswith("/output_2.webp")
    assert input_key(b"") == "inputs/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


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
