"""What is done where an S3 server leaves something out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imagequeue.media.bucket import S3Storage
from imagequeue.media.storage import KeyConflict, ObjectMissing, StorageUnavailable
from tests.media.conftest import PREFIX, credentials, small_place
from tests.media.streams import put_stream
from tests.seaweedfs import BUCKET, USER
from tests.servers import ServerThread
from tests.small_s3 import REVOKED, Conditions, SmallS3

KEY = "v1/some-model_019d/019d/output.png"

MEETING_SECONDS = 5.0
"""After which a question that stays alone is refused. The client itself would repeat it after 10 seconds."""

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


class _Meeting(SmallS3):
    """Answers the first question about conditional puts when a second one has come."""

    both = asyncio.Barrier(2)

    async def _object(self, request: Request) -> Response:
        if request.method == "PUT" and "/probes/" in request.url.path and len(self.asked) < 2:
            await asyncio.wait_for(self.both.wait(), MEETING_SECONDS)
        return await super()._object(request)


def test_threads_that_put_at_once_do_not_wait_for_each_other_s_question_to_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a lock each would wait out a server that is away, after all those before it."""
    credentials(monkeypatch, USER)
    server = _Meeting("honoured", {BUCKET: {}})
    with ServerThread(server.app()) as running, ThreadPoolExecutor(2) as threads:
        storage = S3Storage(BUCKET, PREFIX, running.url)
        puts = [threads.submit(storage.put, key, b"x", "image/png") for key in (KEY, f"{KEY}.2")]
        for put in puts:
            put.result()
    assert sorted(server.buckets[BUCKET]) == [f"{PREFIX}/{KEY}", f"{PREFIX}/{KEY}.2"]


def test_a_web_server_that_answers_everything_has_stored_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch, USER)

    async def page(request: Request) -> Response:
        await request.body()
        return Response()

    app = Starlette(routes=[Route("/{path:path}", page, methods=["GET", "HEAD", "PUT", "POST", "DELETE"])])
    with ServerThread(app) as running:
        storage = S3Storage(BUCKET, PREFIX, running.url)
        with pytest.raises(StorageUnavailable, match="there is no ETag"):
            storage.put(KEY, b"x", "image/png")
        with pytest.raises(StorageUnavailable, match="there is no ETag"):
            put_stream(storage, "files/a", [b"x"], "application/jsonl")


def test_names_that_other_servers_allow_are_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch, {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "x"})
    server = SmallS3("honoured", {"Images_of_Mine": {}})
    with ServerThread(server.app()) as running:
        storage = S3Storage("Images_of_Mine", "", running.url)
        storage.put(KEY, b"x", "image/png")
        assert storage.get(KEY) == b"x"
