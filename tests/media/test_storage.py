"""A directory and a bucket keep the same promises, on whatever server the bucket is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from imagequeue.media.bucket import S3Storage
from imagequeue.media.keys import output_key
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import KeyConflict, ObjectMissing, Storage, StorageUnavailable
from tests.media.conftest import Place
from tests.media.pictures import picture

ATTEMPT = UUID("019d0000-0000-7000-8000-000000000001")
KEY = output_key("microsoft-mai-image-2-5_019d", ATTEMPT, 1, "png")


def test_what_is_put_is_got(storage: Storage) -> None:
    storage.put(KEY, picture(), "image/png")
    assert storage.get(KEY) == picture()
    assert storage.exists(KEY)


@pytest.mark.parametrize(("begin", "size"), [(0, 4), (4, 3), (7, 3), (8, 100), (0, 100), (10, 1), (20, 5)])
def test_a_part_of_an_object_is_read(storage: Storage, begin: int, size: int) -> None:
    storage.put(KEY, b"0123456789", "image/png")
    assert storage.read(KEY, begin, size) == b"0123456789"[begin : begin + size]


def test_the_same_bytes_again_are_fine_and_other_bytes_are_not(storage: Storage) -> None:
    storage.put(KEY, b"first", "image/png")
    storage.put(KEY, b"first", "image/png")
    with pytest.raises(KeyConflict):
        storage.put(KEY, b"second", "image/png")
    assert storage.get(KEY) == b"first"


@pytest.mark.parametrize("place", ["local", "moto", "seaweedfs"], indirect=True)
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
    with pytest.raises(ObjectMissing):
        storage.read(KEY, 0, 1)
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


def test_a_storage_check_leaves_nothing(place: Place) -> None:
    place.storage.check_write()
    assert {name for name in place.names() if not name.endswith("/readable")} == set()


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


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "taken").mkdir()
    with pytest.raises(StorageUnavailable):
        storage.put("v1/taken", b"x", "image/png")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
