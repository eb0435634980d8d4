"""Objects that are larger than memory come part by part, into a directory and into a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imagequeue.media.bucket import S3Storage
from imagequeue.media.bucket_upload import PART_BYTES
from imagequeue.media.durable import PART_PREFIX
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import ObjectMissing, Storage
from tests.media.conftest import Place
from tests.media.streams import put_stream

KEY = "files/019d0000-0000-7000-8000-000000000001"
LATER = timedelta(days=2)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)  # moto says of every upload that it was begun in 2010


everywhere = pytest.mark.parametrize("place", ["local", "moto", "seaweedfs", "small-ignored"], indirect=True)


def leftovers(place: Place) -> int:
    storage = place.storage
    if place.small is not None:
        return len(place.small.parts)
    if isinstance(storage, LocalStorage):
        return len([path for path in storage.directory.rglob("*") if path.is_file()])
    assert isinstance(storage, S3Storage)
    return len(storage.client.list_multipart_uploads(Bucket=storage.bucket).get("Uploads", []))


@everywhere
@pytest.mark.parametrize("size", [0, 1000, PART_BYTES, 2 * PART_BYTES + 5])
def test_a_stream_is_stored_whole(storage: Storage, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    step = 3 * 1024 * 1024
    put_stream(storage, KEY, (content[at : at + step] for at in range(0, size, step)), "application/jsonl")
    assert storage.get(KEY) == content


@everywhere
def test_a_part_of_a_stream_is_read(storage: Storage) -> None:
    put_stream(storage, KEY, [b"x" * PART_BYTES, b"0123456789"], "application/jsonl")
    assert storage.read(KEY, PART_BYTES + 2, 3) == b"234"
    assert storage.read(KEY, PART_BYTES + 8, 10) == b"89"


@everywhere
def test_a_stream_that_breaks_off_leaves_nothing(place: Place, storage: Storage) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (PART_BYTES + 1)
        raise ConnectionError("the client has gone")

    with pytest.raises(ConnectionError):
        put_stream(storage, KEY, broken(), "application/jsonl")
    assert leftovers(place) == 0
    with pytest.raises(ObjectMissing):
        storage.get(KEY)


@pytest.mark.parametrize("place", ["local", "moto", "seaweedfs"], indirect=True)
def test_what_a_killed_process_left_is_removed_and_what_runs_is_not(place: Place, storage: Storage) -> None:
    with storage.upload(KEY, "application/jsonl") as left:
        left.write(b"x" * PART_BYTES)
        assert storage.abort_uploads(LONG_AGO) == 0
        assert leftovers(place) == 1
        assert storage.abort_uploads(datetime.now(UTC) + LATER) == 1
        assert leftovers(place) == 0


def test_what_a_killed_process_left_is_found_without_a_look_at_every_image(tmp_path: Path) -> None:
    """A walk over a million images would take longer than the watchdog lets a loop stand still."""
    storage = LocalStorage(tmp_path)
    storage.put("v1/a/b/output.png", b"image", "image/png")
    among_images = tmp_path / "v1" / "a" / "b" / f"{PART_PREFIX}old"
    among_images.write_bytes(b"half")
    with storage.upload(KEY, "application/jsonl") as left:
        left.write(b"half")
        assert storage.abort_uploads(datetime.now(UTC) + LATER) == 1
    assert among_images.exists()


@pytest.mark.parametrize("place", ["small-ignored"], indirect=True)
def test_what_a_server_does_not_list_is_left_to_it(place: Place, storage: Storage) -> None:
    with storage.upload(KEY, "application/jsonl") as left:
        left.write(b"x" * PART_BYTES)
        assert storage.abort_uploads(datetime.now(UTC) + LATER) == 0
        assert leftovers(place) == 1
