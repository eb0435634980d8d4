"""HEAD, which monitors, browsers and download tools send before a GET, or instead of one."""

from __future__ import annotations

import httpx
import pytest

from tests.api.service import ROUTE, Client, Service
from tests.api.test_media import KEY, PNG, path_of
from tests.loopback import NO_TLS


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
def test_head_is_answered_where_get_needs_no_key(service: Service, path: str) -> None:
    head, get = httpx.head(service.url + path, verify=NO_TLS), httpx.get(service.url + path, verify=NO_TLS)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v2/wallet",
        "/v2/requests",
        "/v2/requests/status/{id}",
        "/v2/requests/{id}/attempts",
        "/v2/requests/{id}/events",
    ],
)
def test_head_is_answered_where_get_needs_a_key(client: Client, path: str) -> None:
    request_id = client.generate().json()["request_id"]
    head = client.http.head(path.format(id=request_id))
    assert (head.status_code, head.content) == (200, b"")
    assert httpx.head(client.service.url + path.format(id=request_id), verify=NO_TLS).status_code == 401
    assert client.status(request_id).status_code == 200, "the connection serves on"


def test_head_of_an_image_has_the_headers_of_its_get(service: Service) -> None:
    service.runtime.storage.put(KEY, PNG, "image/png")
    url = service.url + path_of(service)
    head, get = httpx.head(url, verify=NO_TLS), httpx.get(url, verify=NO_TLS)
    assert (head.status_code, head.content) == (200, b"")
    names = set(get.headers) - {"date"}
    assert {name: head.headers[name] for name in names} == {name: get.headers[name] for name in names}


def test_head_of_a_route_that_only_posts_or_of_none_is_refused_as_its_get_is(client: Client) -> None:
    assert client.http.head(ROUTE).status_code == 405
    assert client.http.head("/nowhere").status_code == 404
    assert client.service.rows()["jobs"] == 0
