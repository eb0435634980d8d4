"""An S3 service of moto over HTTP, and both storages."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from imagequeue.media.bucket import S3Storage
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import Storage


@pytest.fixture(scope="session")
def s3_endpoint() -> Generator[str]:
    """The address of an S3 service."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Storage:
    """An empty bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    storage = S3Storage(f"images-{uuid4()}", "some/prefix", s3_endpoint)
    storage.client.create_bucket(Bucket=storage.bucket)
    return storage


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Both kinds in turn."""
    return LocalStorage(tmp_path / "media") if request.param == "local" else request.getfixturevalue("s3")
