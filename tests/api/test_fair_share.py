"""One account holds all that it can on a real server; another one is served as if it were alone."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Generator, Iterator
from http.client import HTTPResponse
from typing import Any

import pytest
from sqlalchemy import Engine, event

from api.change import change
from api.listing import read_page
from api.query import query
from api.submit import prepare_uploads
from imagequeue.media.inputs import prepare_input
from imagequeue.media.keys import input_key
from tests.api.service import BODY, ROUTE, Client, Service
from tests.api.streams import Stream
from tests.api.test_batches import order, uploaded
from tests.api.test_webhook_endpoints import FIELDS, OWN
from tests.builders import MODEL
from tests.eventually import eventually
from tests.media.pictures import picture

MANY = 16
"""Of each kind of slow thing."""
MIB = 1024 * 1024
EDIT = f"/{MODEL}-edit/v1/{MODEL}-edit-request"
THREADS = tuple(work.__name__ for work in (read_page, query, change, prepare_uploads))
"""Kinds of threads whose statements are held."""


class HeldStatements:
    """Statements that do not end until they are let go: those whose parameters have one of the `marks`."""

    def __init__(self, engine: Engine, *marks: str) -> None:
        self._marks = marks
        self._go = threading.Event()
        self.held: list[str] = []
        event.listen(engine, "before_cursor_execute", self._hold)

    def _hold(self, *given: Any) -> None:
        _, _, _, parameters, _, _ = given
        kind = threading.current_thread().name.rpartition("_")[0]
        if kind in THREADS and any(mark in str(parameters) for mark in self._marks):
            self.held.append(kind)
            assert self._go.wait(120)

    def let_go(self) -> None:
        self._go.set()


@contextlib.contextmanager
def held_statements(engine: Engine, *marks: str) -> Generator[HeldStatements]:
    held = HeldStatements(engine, *marks)
    try:
        yield held
    finally:
        held.let_go()


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def edit_body(content: bytes) -> dict[str, Any]:
    return {"prompt": "make it blue", "image_urls": [data_url(content)]}


class Greedy:
    """An account that begins requests and reads no answer, each on a connection of its own."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.connections: list[socket.socket] = []

    def begin(self, method: str, path: str, body: bytes = b"", length: int = 0, **more: str) -> None:
        """Send a request; its body says that it has at least `length` bytes."""
        url = self.client.http.base_url
        fields = {
            "Host": url.host,
            "Authorization": f"Bearer {self.client.key}",
            "Content-Type": "application/json",
            "Content-Length": str(max(len(body), length)),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        connection = socket.create_connection((url.host, url.port or 80), timeout=120)
        self.connections.append(connection)
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    def statuses(self, count: int) -> set[int]:
        """The statuses of the answers on the connections that were opened last."""
        return {self._answer(connection) for connection in self.connections[-count:]}

    def _answer(self, connection: socket.socket) -> int:
        with HTTPResponse(connection) as answer:
            answer.begin()
            return answer.status

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


@pytest.fixture
def greedy(service: Service) -> Iterator[Greedy]:
    greedy = Greedy(service.client("greedy", funds="1000"))
    yield greedy
    greedy.close()


def begin_streams(greedy: Greedy) -> None:
    """Event streams of a job and of a batch, submits that wait, and contents that nobody reads."""
    client = greedy.client
    job = client.generate().json()["request_id"]
    batch = client.http.post("/v2/batches", json=order(client)).json()["id"]
    file = uploaded(client, b"x" * 32 * MIB)
    for _ in range(MANY):
        greedy.begin("GET", f"/v2/requests/{job}/events")
        greedy.begin("GET", f"/v2/batches/{batch}/events")
        greedy.begin("GET", f"/v1/files/{file}/content")
        greedy.begin("POST", ROUTE, json.dumps(BODY).encode(), Prefer="wait=1000")


def begin_bodies(greedy: Greedy) -> None:
    """Bodies that never end: of submits, and of files."""
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    form = {"Content_Type": "multipart/form-data; boundary=b"}
    for number in range(MANY):
        greedy.begin("POST", ROUTE, b" " * 64 * 1024, 8 * MIB)
        if number < 2:
            greedy.begin("POST", "/v1/files", part, 8 * MIB, **form)


def begin_slow_work(greedy: Greedy, content: bytes) -> None:
    """What takes threads: edits, lists of jobs and files, and changes."""
    edit, endpoint = json.dumps(edit_body(content)).encode(), json.dumps(FIELDS).encode()
    for _ in range(MANY):
        greedy.begin("POST", EDIT, edit)
        greedy.begin("GET", "/v2/requests")
        greedy.begin("GET", "/v1/files")
        greedy.begin("POST", OWN, endpoint)


def use_everything(other: Client) -> None:
    """What a client does all day; each answer is a good one."""
    assert other.http.post(EDIT, json=edit_body(picture(size=(64, 64)))).status_code == 202
    job = other.generate().json()["request_id"]
    stream = Stream(other, job)
    assert stream.status() == "QUEUED"
    stream.close()
    assert other.http.get("/v2/requests").json()["data"][0]["request_id"] == job
    file = uploaded(other)
    assert [one["id"] for one in other.http.get("/v1/files").json()["data"]] == [file]
    assert other.http.get(f"/v1/files/{file}/content").status_code == 200
    batch = other.http.post("/v2/batches", json=order(other, input_file_id=file)).json()["id"]
    with other.http.stream("GET", f"/v2/batches/{batch}/events") as events:
        assert next(events.iter_lines()).startswith("id: ")
    assert other.http.get(f"/v2/requests/{job}/attempts").status_code == 200
    assert other.http.post(OWN, json=FIELDS).status_code == 200
    assert other.http.post(ROUTE, json=BODY | {"prompt": "x" * 40_000}).status_code == 400


def test_an_account_that_holds_all_that_it_can_leaves_the_others_what_they_need(
    service: Service, greedy: Greedy
) -> None:
    account_id, shares = greedy.client.account_id, service.app.state.shares
    large = picture(size=(600, 400))
    begin_streams(greedy)
    begin_bodies(greedy)
    eventually(lambda: shares.reads.count(account_id) == shares.reads.most == MANY)
    eventually(lambda: shares.batch_streams.count(account_id) == MANY)
    eventually(lambda: shares.large_bodies.count(account_id) == MANY)
    eventually(lambda: service.rows()["jobs"] == 1 + MANY)
    marks = str(account_id), input_key(prepare_input(large).content)
    with held_statements(service.engine, *marks) as statements:
        begin_slow_work(greedy, large)
        eventually(lambda: sorted(set(statements.held)) == sorted(THREADS))
        eventually(lambda: statements.held.count(prepare_uploads.__name__) == 2)
        assert len(statements.held) == 5, "one list of jobs, one other read, one change, two edits"
        use_everything(service.client("other"))
        assert len(statements.held) == 5, "the others of the greedy account still wait in its own lines"
    assert greedy.statuses(4 * MANY) <= {200, 202, 503}
    greedy.close()
    eventually(lambda: shares.requests.count(account_id) == 0)
    assert greedy.client.http.get("/v2/requests").status_code == 200
