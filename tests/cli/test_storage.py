"""`imagequeue storage init`: what it makes, and what it says of servers that can do more or less."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from cli.storage import app
from imagequeue.media.bucket import S3Storage
from tests.media.conftest import credentials
from tests.seaweedfs import ADMIN, BUCKET, USER, SeaweedFS, admin_client
from tests.servers import ServerThread
from tests.small_s3 import REVOKED, SmallS3

pytestmark = pytest.mark.long

Init = Callable[..., Result]
KEY = "v1/some-model_019d/019d/output.png"


@pytest.fixture
def init() -> Init:
    def invoked(bucket: str, endpoint: str, user: dict[str, str], *words: str) -> Result:
        environment = user | {
            "IMAGEQUEUE_DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
            "IMAGEQUEUE_STORAGE_URL": f"s3://{bucket}",
            "IMAGEQUEUE_S3_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        result = CliRunner().invoke(app, ["init", *words], env=environment)
        assert not result.exception or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoked


def _wanting(result: Result) -> dict[str, str]:
    """The sentences of the steps that ask for attention."""
    findings = json.loads(result.output)["data"]
    return {finding["step"]: finding["sentence"] for finding in findings if not finding["works"]}


def test_on_seaweedfs_strangers_read_images_and_list_nothing(
    init: Init, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # harmless to repeat
        result = init(BUCKET, seaweedfs.url, ADMIN, "--json")
        assert (result.exit_code, _wanting(result)) == (0, {})
    credentials(monkeypatch, USER)
    storage = S3Storage(BUCKET, "", seaweedfs.url)
    storage.put(KEY, b"an image", "image/png")
    storage.put("inputs/abc", b"of a client", "image/png")
    image = httpx.get(f"{seaweedfs.url}/{BUCKET}/{KEY}")
    assert (image.status_code, image.content, image.headers["content-type"]) == (
        200,
        b"an image",
        "image/png",
    )
    for path in ("inputs/abc", "?list-type=2", "?list-type=2&prefix=v1/", "?uploads", ""):
        assert httpx.get(f"{seaweedfs.url}/{BUCKET}/{path}").status_code == 403, path


def test_a_bucket_is_made_where_there_is_none(init: Init, seaweedfs: SeaweedFS) -> None:
    result = init("another-one", seaweedfs.url, ADMIN)
    assert result.exit_code == 0, result.output
    assert "bucket: The bucket another-one was made." in result.output
    assert "bucket: The bucket another-one is there." in init("another-one", seaweedfs.url, ADMIN).output


def test_private_takes_back_what_let_strangers_read(init: Init, seaweedfs: SeaweedFS) -> None:
    assert init("private-one", seaweedfs.url, ADMIN).exit_code == 0
    admin_client(seaweedfs).put_object(Bucket="private-one", Key=KEY, Body=b"x")
    assert httpx.get(f"{seaweedfs.url}/private-one/{KEY}").status_code == 200
    assert _wanting(init("private-one", seaweedfs.url, ADMIN, "--private", "--json")) == {}
    assert httpx.get(f"{seaweedfs.url}/private-one/{KEY}").status_code == 403


def test_the_service_s_own_user_needs_no_rights_that_only_the_first_time_takes(
    init: Init, seaweedfs: SeaweedFS
) -> None:
    assert init(BUCKET, seaweedfs.url, ADMIN).exit_code == 0
    assert _wanting(init(BUCKET, seaweedfs.url, USER, "--json")) == {}


def test_of_a_small_server_it_says_what_is_done_instead(init: Init) -> None:
    with ServerThread(SmallS3("ignored").app()) as server:
        result = init("images", server.url, USER, "--json")
    said = _wanting(result)
    assert result.exit_code == 0, result.output
    assert set(said) == {"policy", "conditional put", "missing key", "strangers: images", "bulk delete"}
    assert "looked up before it is written" in said["conditional put"]
    assert "Media URLs then lead through the API" in said["strangers: images"]
    assert "one by one" in said["bulk delete"]


def test_it_leaves_no_object_of_its_own(init: Init) -> None:
    small = SmallS3("honoured")
    with ServerThread(small.app()) as server:
        assert init("images", server.url, USER).exit_code == 0
    assert {name.rpartition("/")[2] for name in small.buckets["images"]} <= {"readable"}


def test_a_server_that_takes_no_objects_is_one_line_and_an_exit_status(init: Init) -> None:
    with ServerThread(SmallS3().app()) as server:
        result = init("images", server.url, {"AWS_ACCESS_KEY_ID": REVOKED, "AWS_SECRET_ACCESS_KEY": "x"})
    assert result.exit_code == 1
    assert "imagequeue: StorageUnavailable: S3: " in result.output


def test_a_directory_needs_nothing(tmp_path: Path) -> None:
    environment = {
        "IMAGEQUEUE_DATABASE_URL": "postgresql://nobody@127.0.0.1/none",
        "IMAGEQUEUE_STORAGE_URL": f"file://{tmp_path}/media",
    }
    result = CliRunner().invoke(app, ["init"], env=environment)
    assert result.exit_code == 0, result.output
    assert "directory: It takes files" in result.output
