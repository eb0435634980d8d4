"""Every kind of storage, each empty when a test begins: a directory, and S3 servers over HTTP.

The S3 servers are moto's, SeaweedFS (`tests/seaweedfs.py`), and one that leaves things out
(`tests/small_s3.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from imagequeue.media.bucket import S3Storage
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import Storage
from tests.seaweedfs import BUCKET, USER, SeaweedFS, admin_client
from tests.servers import ServerThread
from tests.small_s3 import SmallS3

KINDS = ("local", "moto", "seaweedfs", "small-ignored", "small-409", "small-501")
PREFIX = "some/prefix"


@dataclass(frozen=True)
class Place:
    """A storage, and the names of all objects in it, which its own user may not be allowed to list."""

    storage: Storage
    names: Callable[[], list[str]]
    small: SmallS3 | None = None


@pytest.fixture(scope="session")
def s3_endpoint() -> Generator[str]:
    """The address of an S3 service."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def credentials(monkeypatch: pytest.MonkeyPatch, user: dict[str, str]) -> None:
    """Let clients that are made from now on be this user."""
    for name, value in (user | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    """An empty bucket."""
    credentials(monkeypatch, {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"})
    storage = S3Storage(f"images-{uuid4()}", PREFIX, s3_endpoint)
    storage.client.create_bucket(Bucket=storage.bucket)
    return storage


@pytest.fixture(params=KINDS)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Place]:
    """Each kind in turn."""
    kind: str = request.param
    if kind == "local":
        yield _local(tmp_path / "media")
    elif kind == "moto":
        storage: S3Storage = request.getfixturevalue("s3")
        yield Place(storage, lambda: _listed(storage.client, storage))
    elif kind == "seaweedfs":
        yield _in_seaweedfs(request.getfixturevalue("seaweedfs"), monkeypatch)
    else:
        with ExitStack() as stack:
            yield small_place(kind.removeprefix("small-"), stack, monkeypatch)


@pytest.fixture
def storage(place: Place) -> Storage:
    """The storage of `place`."""
    return place.storage


def _local(directory: Path) -> Place:
    def names() -> list[str]:
        return [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]

    return Place(LocalStorage(directory), names)


def _in_seaweedfs(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Place:
    credentials(monkeypatch, USER)
    storage = S3Storage(BUCKET, f"tests/{uuid4()}", server.url)
    return Place(storage, lambda: _listed(admin_client(server), storage))


def small_place(conditions: Any, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A bucket in a small server, which runs until the stack is closed."""
    credentials(monkeypatch, USER)
    server = SmallS3(conditions, {BUCKET: {}})
    url = stack.enter_context(ServerThread(server.app())).url
    return Place(S3Storage(BUCKET, PREFIX, url), lambda: sorted(server.buckets[BUCKET]), server)


def _listed(client: Any, storage: S3Storage) -> list[str]:
    found = client.list_objects_v2(Bucket=storage.bucket, Prefix=storage.prefix).get("Contents", [])
    return [entry["Key"] for entry in found]
