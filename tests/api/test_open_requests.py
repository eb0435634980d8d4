"""What one account holds open at a real server, and what other accounts are served meanwhile."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from api.edge.limits import EdgeLimits
from api.shares import BATCH_STREAMS, LARGE_BODIES, LEAST_REQUESTS, READS
from tests.api.service import BODY, ROUTE, Client, Service, serving
from tests.api.test_batches import order, uploaded
from tests.eventually import eventually


@pytest.fixture
def narrow(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Service]:
    """A server that takes 32 connections, so that an account may have 16 requests open."""
    limits = EdgeLimits(connections=2 * LEAST_REQUESTS)
    with serving(engine, database_url, limits=limits, storage_url=f"file://{tmp_path}/media") as service:
        yield service


@contextlib.contextmanager
def streams(client: Client, path: str, count: int) -> Generator[list[httpx.Response]]:
    """So many answers that are open, each with its headers read."""
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(client.http.stream("GET", path)) for _ in range(count)]


def event_stream(client: Client) -> str:
    return f"/v2/requests/{client.generate().json()['request_id']}/events"


def batch_stream(client: Client) -> str:
    return f"/v2/batches/{client.http.post('/v2/batches', json=order(client)).json()['id']}/events"


def open_requests(service: Service, client: Client) -> int:
    return service.app.state.shares.requests.count(client.account_id)


def test_event_streams_of_one_account_are_bounded_and_those_of_another_are_served(narrow: Service) -> None:
    one, other = narrow.client("one"), narrow.client("other")
    path = event_stream(one)
    with streams(one, path, LEAST_REQUESTS) as opened:
        assert {answer.status_code for answer in opened} == {200}
        refused = one.http.get(path)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert "16 requests" in refused.json()["message"]
        with streams(other, event_stream(other), 1) as served:
            assert served[0].status_code == 200
        assert other.generate().status_code == 202
    eventually(lambda: open_requests(narrow, one) == 0)
    assert one.http.get("/v2/wallet").status_code == 200


def test_submits_that_wait_are_bounded_before_anything_is_accepted(narrow: Service) -> None:
    one, other = narrow.client("one"), narrow.client("other")
    body = {"model": "MAI-Image-2.5", "prompt": "a lighthouse"}
    with ThreadPoolExecutor(LEAST_REQUESTS) as pool:
        waiting = [
            pool.submit(one.http.post, "/v1/images/generations", json=body, headers={"Prefer": "wait=1000"})
            for _ in range(LEAST_REQUESTS)
        ]
        eventually(lambda: narrow.rows()["jobs"] == LEAST_REQUESTS)
        refused = one.http.post("/v1/images/generations", json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert "16 requests" in refused.json()["error"]["message"]
        assert narrow.rows()["jobs"] == LEAST_REQUESTS
        assert other.generate().status_code == 202
        narrow.app.state.watch.end()  # as at the end of the process
        assert {answer.result().status_code for answer in waiting} == {202}, "the jobs go on"
    eventually(lambda: open_requests(narrow, one) == 0)


def test_event_streams_of_batches_are_bounded(service: Service) -> None:
    one, other = service.client("one"), service.client("other")
    followed = batch_stream(one)
    with streams(one, followed, BATCH_STREAMS):
        refused = one.http.get(followed)
        assert refused.status_code == 429
        assert f"{BATCH_STREAMS} event streams of batches" in refused.json()["message"]
        assert one.http.get("/v2/batches").status_code == 200
        with streams(other, batch_stream(other), 1) as served:
            assert served[0].status_code == 200
    eventually(lambda: open_requests(service, one) == 0)
    with streams(one, followed, 1) as served:
        assert served[0].status_code == 200


def test_contents_that_nobody_takes_are_bounded(client: Client, service: Service) -> None:
    file, other = uploaded(client, b"x" * 32 * 1024 * 1024), service.client("other")
    path = f"/v1/files/{file}/content"
    with streams(client, path, READS):
        refused = client.http.get(path)
        assert refused.status_code == 429
        assert f"{READS} reads" in refused.json()["error"]["message"]
        assert len(other.http.get(f"/v1/files/{uploaded(other, b'y')}/content").content) == 1
    eventually(lambda: open_requests(service, client) == 0)
    assert client.http.get(path).status_code == 200


def begin(client: Client, sent: int) -> socket.socket:
    """A submit whose body breaks no rule, and of which so many bytes have been sent."""
    url = client.http.base_url
    head = f"POST {ROUTE} HTTP/1.1\r\nHost: {url.host}\r\nOcp-Apim-Subscription-Key: {client.key}\r\n"
    connection = socket.create_connection((url.host, url.port or 80))
    connection.sendall(f"{head}Content-Length: {8 * 1024 * 1024}\r\n\r\n".encode() + b" " * sent)
    return connection


def test_large_bodies_that_are_not_finished_are_bounded(client: Client, service: Service) -> None:
    other, share = service.client("other"), service.app.state.shares.large_bodies
    large: dict[str, Any] = BODY | {"prompt": "x" * 40_000}
    with contextlib.ExitStack() as opened:
        for _ in range(LARGE_BODIES):
            opened.enter_context(begin(client, 64 * 1024))
        eventually(lambda: share.count(client.account_id) == LARGE_BODIES)
        refused = client.http.post(ROUTE, json=large)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert f"{LARGE_BODIES} large request bodies" in refused.json()["message"]
        assert client.generate().status_code == 202
        assert other.http.post(ROUTE, json=large).status_code == 400, "its prompt is too long, and was read"
    eventually(lambda: share.count(client.account_id) == 0)
    assert client.http.post(ROUTE, json=large).status_code == 400
