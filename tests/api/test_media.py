"""Media URLs: unguessable, unchanging, harmless."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import Engine

from imagequeue.media_urls import media_urls
from tests.api.service import Service, serving, title_and_message
from tests.builders import settings
from tests.loopback import NO_TLS
from tests.media.conftest import credentials
from tests.seaweedfs import USER
from tests.servers import ServerThread
from tests.small_s3 import SmallS3

KEY = "v1/some-model_01890000-0000-7000-8000-000000000000/01890000-0000-7000-8000-000000000001/output.png"
PNG = b"\x89PNG\r\n\x1a\n and more"


def path_of(service: Service, key: str = KEY) -> str:
    return httpx.URL(media_urls(service.runtime.settings, service.runtime.keyring)(key)).raw_path.decode()


def test_a_stored_image_needs_no_key_and_may_be_kept_for_ever(service: Service) -> None:
    service.runtime.storage.put(KEY, PNG, "image/png")
    answer = httpx.get(service.url + path_of(service), verify=NO_TLS)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PNG, "image/png")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    part = httpx.get(service.url + path_of(service), headers={"Range": "bytes=1-3"}, verify=NO_TLS)
    assert (part.status_code, part.content) == (206, b"PNG")


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', "*", '"a,b" ,W/{}'])
def test_an_image_that_a_client_has_is_not_sent_again(service: Service, known: str) -> None:
    service.runtime.storage.put(KEY, PNG, "image/png")
    url = service.url + path_of(service)
    tag = httpx.get(url, verify=NO_TLS).headers["etag"]
    again = httpx.get(url, headers={"If-None-Match": known.format(tag)}, verify=NO_TLS)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert again.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert again.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("known", ['"other"', "x", "", '"'])
def test_another_tag_gets_the_image(service: Service, known: str) -> None:
    service.runtime.storage.put(KEY, PNG, "image/png")
    answer = httpx.get(service.url + path_of(service), headers={"If-None-Match": known}, verify=NO_TLS)
    assert (answer.status_code, answer.content) == (200, PNG)


def test_an_image_that_is_gone_is_404_whatever_a_client_has(service: Service) -> None:
    assert (
        httpx.get(service.url + path_of(service), headers={"If-None-Match": "*"}, verify=NO_TLS).status_code
        == 404
    )


def test_scripts_of_any_page_may_read_an_image(service: Service) -> None:
    service.runtime.storage.put(KEY, PNG, "image/png")
    answer = httpx.get(
        service.url + path_of(service), headers={"Origin": "https://shop.example"}, verify=NO_TLS
    )
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("token", ["x", "a" * 24, "%00", "ü"])
def test_without_the_token_there_is_nothing(service: Service, token: str) -> None:
    service.runtime.storage.put(KEY, PNG, "image/png")
    answer = httpx.get(f"{service.url}/media/{token}/{KEY}", verify=NO_TLS)
    assert answer.status_code == 404
    assert title_and_message(answer)[0] == "Not Found"


@pytest.mark.parametrize(
    "key", ["v1/nothing.png", "../secret.key", "v1/../../x", "v1//x", "/etc/passwd", "v1"]
)
def test_keys_that_name_no_object_are_404_even_with_their_token(service: Service, key: str) -> None:
    service.runtime.storage.put(KEY, PNG, "image/png")
    token = service.runtime.keyring.media_token(key)
    quoted = key.replace("/", "%2F") if ".." in key or key.startswith("/") else key
    assert httpx.get(f"{service.url}/media/{token}/{quoted}", verify=NO_TLS).status_code == 404


def test_a_cdn_base_replaces_the_route() -> None:
    own = settings("postgresql://x", media_base_url="https://cdn.example.com/i/")
    assert media_urls(own, Keys())(KEY) == f"https://cdn.example.com/i/{KEY}"  # pyright: ignore[reportArgumentType]


class Keys:
    """A keyring that must not be asked."""

    def media_token(self, storage_key: str) -> str:
        raise AssertionError(storage_key)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The endpoint of an S3 service with the bucket `images`."""
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint)  # pyright: ignore[reportUnknownMemberType]
    client.create_bucket(Bucket="images")
    client.close()
    yield endpoint
    server.stop()


def test_where_no_policy_can_be_set_media_urls_lead_through_the_api(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger who asks the bucket itself is refused; the presigned URL leads to its endpoint outside."""
    credentials(monkeypatch, USER)
    with ServerThread(SmallS3("ignored", {"images": {}}).app()) as server:
        outside = server.url.replace("127.0.0.1", "localhost")
        with serving(
            engine,
            database_url,
            storage_url="s3://images",
            s3_endpoint_url=server.url,
            s3_presign_endpoint_url=outside,
        ) as service:
            service.runtime.storage.put(KEY, PNG, "image/png")
            assert httpx.get(f"{server.url}/images/{KEY}").status_code == 403
            answer = httpx.get(service.url + path_of(service), follow_redirects=True)
    assert (answer.status_code, answer.content) == (200, PNG)
    assert str(answer.url).startswith(f"{outside}/images/{KEY}?")


def test_a_bucket_serves_its_own_by_a_fresh_presigned_url(
    engine: Engine, database_url: str, bucket: str
) -> None:
    with serving(engine, database_url, storage_url="s3://images/own", s3_endpoint_url=bucket) as service:
        service.runtime.storage.put(KEY, PNG, "image/png")
        answer = httpx.get(service.url + path_of(service), follow_redirects=False, verify=NO_TLS)
        assert answer.status_code == 302
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["location"].startswith(bucket)
        image = httpx.get(answer.headers["location"], verify=NO_TLS)
        assert (image.content, image.headers["content-type"]) == (PNG, "image/png")
