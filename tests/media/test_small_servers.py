"""What is done where an S3 server leaves something out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack

import pytest

from imagequeue.media.bucket import S3Storage
from imagequeue.media.storage import KeyConflict, ObjectMissing, StorageUnavailable
from tests.media.conftest import PREFIX, credentials, small_place
from tests.seaweedfs import BUCKET
from tests.servers import ServerThread
from tests.small_s3 import REVOKED, Conditions, SmallS3

KEY = "v1/some-model_019d/019d/output.png"

Start = Callable[[Conditions], tuple[S3Storage, SmallS3]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Generator[Start]:
    """Starts a small server; a storage in it, and its inside."""
    with ExitStack() as stack:

        def started(conditions: Conditions) -> tuple[S3Storage, SmallS3]:
            place = small_place(conditions, stack, monkeypatch)
            assert isinstance(place.storage, S3Storage)
            assert place.small is not None
            return place.storage, place.small

        yield started


@pytest.mark.parametrize("conditions", ["ignored", "409", "501"])
def test_a_server_that_would_replace_an_object_is_not_asked_to(start: Start, conditions: Conditions) -> None:
    storage, server = start(conditions)
    storage.put(KEY, b"first", "image/png")
    storage.put(KEY, b"first", "image/png")
    with pytest.raises(KeyConflict):
        storage.put(KEY, b"second", "image/png")
    assert server.buckets[BUCKET][f"{PREFIX}/{KEY}"] == (b"first", "image/png")


def test_whether_a_server_honours_conditions_is_asked_once(start: Start) -> None:
    storage, server = start("honoured")
    storage.put(KEY, b"first", "image/png")
    asked = len(server.asked)
    storage.put(f"{KEY}.2", b"first", "image/png")
    assert server.asked[asked:] == [f"PUT {PREFIX}/{KEY}.2"]


def test_a_conflict_is_no_object_that_exists(start: Start) -> None:
    """Another put is under way: the object comes with the next try, or is there and compared."""
    storage, server = start("honoured")
    storage.put(KEY, b"first", "image/png")
    server.conflicts = 2
    storage.put(f"{KEY}.2", b"second", "image/png")
    assert storage.get(f"{KEY}.2") == b"second"
    server.conflicts = 1
    storage.put(KEY, b"first", "image/png")
    server.conflicts = 1
    with pytest.raises(KeyConflict):
        storage.put(KEY, b"second", "image/png")


def test_conflicts_without_end_are_a_storage_that_is_away(start: Start) -> None:
    storage, server = start("honoured")
    storage.check_write()
    server.conflicts = 1000
    with pytest.raises(StorageUnavailable, match="under way"):
        storage.put(KEY, b"x", "image/png")


def test_a_bucket_that_takes_no_puts_is_asked_about_conditions_again(start: Start) -> None:
    storage, server = start("honoured")
    objects = server.buckets.pop(BUCKET)
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        storage.put(KEY, b"x", "image/png")
    server.buckets[BUCKET] = objects
    storage.put(KEY, b"x", "image/png")
    assert storage.honours_conditions()


def test_a_missing_key_is_missing_though_the_answer_is_forbidden(start: Start) -> None:
    storage, _ = start("ignored")
    with pytest.raises(ObjectMissing):
        storage.get(KEY)
    assert not storage.exists(KEY)


def test_a_user_who_may_read_nothing_any_more_is_not_told_that_images_are_missing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a paid image would be bought again."""
    storage, _ = start("ignored")
    storage.put(KEY, b"x", "image/png")
    with pytest.raises(ObjectMissing):
        storage.get(f"{KEY}.2")
    credentials(monkeypatch, {"AWS_ACCESS_KEY_ID": REVOKED, "AWS_SECRET_ACCESS_KEY": "x"})
    revoked = S3Storage(BUCKET, PREFIX, storage.endpoint_url)
    for read in (revoked.get, revoked.exists):
        with pytest.raises(StorageUnavailable):
            read(KEY)


def test_names_that_other_servers_allow_are_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch, {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "x"})
    server = SmallS3("honoured", {"Images_of_Mine": {}})
    with ServerThread(server.app()) as running:
        storage = S3Storage("Images_of_Mine", "", running.url)
        storage.put(KEY, b"x", "image/png")
        assert storage.get(KEY) == b"x"
