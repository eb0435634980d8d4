"""What a bucket alone does: bulk deletes, presigned URLs, a prefix."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imagequeue.media.bucket import S3Storage
from imagequeue.media.keys import output_key
from imagequeue.media.storage import StorageUnavailable
from tests.media.pictures import picture
from tests.servers import ServerThread

ATTEMPT = UUID("019d0000-0000-7000-8000-000000000001")
KEY = output_key("microsoft-mai-image-2-5_019d", ATTEMPT, 1, "png")


def _answer_bulk(s3: S3Storage, status: int, body: dict[str, object] | None) -> list[str]:
    """Let the service answer every `DeleteObjects` like that; what it is asked for from now on.

    Without a body it says that all were deleted.
    """
    asked = list[str]()

    def note(model: Any, params: dict[str, Any], **_: object) -> Any:
        asked.append(model.name)
        if model.name != "DeleteObjects":
            return None
        keys = re.findall(r"<Key>(.*?)</Key>", params["body"].decode())
        answer = {"Deleted": [{"Key": key} for key in keys]} if body is None else body
        return SimpleNamespace(status_code=status), {"ResponseMetadata": {"HTTPStatusCode": status}} | answer

    s3.client.meta.events.register("before-call.s3", note)
    return asked


def test_a_service_that_answers_a_part_with_the_whole_object_is_not_believed(s3: S3Storage) -> None:
    def whole(model: Any, **_: object) -> Any:
        body = {"Body": io.BytesIO(b"0123456789")}
        return (SimpleNamespace(status_code=200), body) if model.name == "GetObject" else None

    s3.put("v1/a", b"0123456789", "image/png")
    s3.client.meta.events.register("before-call.s3", whole)
    with pytest.raises(StorageUnavailable, match="Content-Range"):
        s3.read("v1/a", 3, 4)


def test_more_than_a_request_takes_are_deleted_in_several(s3: S3Storage) -> None:
    asked = _answer_bulk(s3, 200, None)
    s3.delete(*(f"v1/{number}" for number in range(2001)))
    assert asked == ["DeleteObjects"] * 3


REFUSALS: dict[str, tuple[int, dict[str, object]]] = {
    "not implemented": (501, {"Error": {"Code": "NotImplemented"}}),
    "no such method": (405, {"Error": {"Code": "MethodNotAllowed"}}),
    "another checksum is wanted": (400, {"Error": {"Code": "InvalidRequest"}}),
    "not for this user": (403, {"Error": {"Code": "AccessDenied"}}),
    "its own fault": (500, {"Error": {"Code": "InternalError"}}),
    "not for these objects": (200, {"Errors": [{"Key": "v1/a", "Code": "AccessDenied"}]}),
    "an answer that says nothing": (200, {}),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_where_bulk_deletes_are_refused_in_any_way_objects_go_one_by_one(
    s3: S3Storage, refusal: tuple[int, dict[str, object]]
) -> None:
    s3.put("v1/a", b"x", "image/png")
    asked = _answer_bulk(s3, *refusal)
    s3.delete("v1/a", "v1/b")
    assert asked == ["DeleteObjects", "DeleteObject", "DeleteObject"]
    assert not s3.exists("v1/a")


def test_an_object_that_cannot_be_deleted_singly_either_is_told(s3: S3Storage) -> None:
    def refuse(model: Any, **_: object) -> Any:
        body = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        return (SimpleNamespace(status_code=403), body) if model.name.startswith("DeleteObject") else None

    s3.client.meta.events.register("before-call.s3", refuse)
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        s3.delete("v1/a")


def test_a_bulk_delete_has_the_checksum_that_every_server_knows(s3: S3Storage) -> None:
    sent = dict[str, str]()

    def note(request: Any, **_: object) -> None:
        sent.update({name.lower(): value for name, value in request.headers.items()})

    s3.client.meta.events.register("before-send.s3.DeleteObjects", note)
    s3.delete("v1/a")
    assert "content-md5" in sent
    assert not [name for name in sent if name.startswith(("x-amz-checksum", "x-amz-sdk"))]


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


def test_presigned_urls_lead_to_an_endpoint_of_their_own(s3: S3Storage, s3_endpoint: str) -> None:
    """Inside, the server may have a name that clients do not know."""
    outside = s3_endpoint.replace("127.0.0.1", "localhost")
    storage = S3Storage(s3.bucket, "some/prefix", s3_endpoint, outside)
    storage.put(KEY, picture(), "image/png")
    url = storage.url(KEY)
    assert url
    assert url.startswith(f"{outside}/{s3.bucket}/some/prefix/{KEY}?")
    assert httpx.get(url).content == picture()


def test_a_bucket_that_does_not_exist_is_unavailable(s3: S3Storage, s3_endpoint: str) -> None:
    with pytest.raises(StorageUnavailable):
        S3Storage("no-such-bucket", "", s3_endpoint).put(KEY, b"x", "image/png")


ENDPOINTS = {
    "no URL": "minio:9000",
    "no host": "http://",
    "half an address": "http://[::1",
    "nobody listens": "http://127.0.0.1:1",
    "no such name": "http://storage.invalid",
    "no TLS": "https://{web}",
    "a website": "http://{web}",
    "a website below a path": "http://{web}/console",
}


def _page(request: Request) -> Response:
    del request
    return Response("<html>Welcome</html>", media_type="text/html")


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS.keys())
def test_behind_a_wrong_endpoint_the_storage_is_away(s3: S3Storage, endpoint: str) -> None:
    """Whatever boto3 raises, and whoever answers: an image that meets it waits, and is not lost."""
    with ServerThread(Starlette(routes=[Route("/{path:path}", _page, methods=["PUT", "HEAD"])])) as website:
        place = website.url.removeprefix("http://")
        storage = S3Storage(s3.bucket, "", endpoint.format(web=place))
        with pytest.raises(StorageUnavailable, match=r"^S3: "):
            storage.put(KEY, b"x", "image/png")
        with pytest.raises(StorageUnavailable, match=r"^S3: "):
            storage.check_write()


def test_without_credentials_the_storage_is_away(s3: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageUnavailable, match="credentials"):
        S3Storage(s3.bucket, "", s3.client.meta.endpoint_url).put(KEY, b"x", "image/png")
