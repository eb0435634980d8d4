"""Pixazo calls back: the final status body, once, to this machine alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from simulator.callbacks import is_of_this_machine
from simulator.config import UpstreamConfig
from tests.servers import ServerThread
from tests.simulator.conftest import KEY, one_model

NAME = "microsoft-mai-image-2-5"
SECONDS = 120

Submit = Callable[..., httpx.Response]


@dataclass
class Receiver:
    """Answers with the statuses that it is given, then with 204; `posts` are path and body."""

    statuses: list[int] = field(default_factory=list[int])
    posts: SimpleQueue[tuple[str, dict[str, Any]]] = field(
        default_factory=SimpleQueue[tuple[str, dict[str, Any]]]
    )
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await Request(scope, receive).body()
        self.posts.put((scope["path"], json.loads(body)))
        await Response(status_code=self.statuses.pop(0) if self.statuses else 204)(scope, receive, send)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with ServerThread(receiver) as server:
        receiver.url = f"{server.url}/callbacks/token"
        yield receiver


@pytest.fixture
def submit(client: httpx.Client, put_upstream: Callable[[str, UpstreamConfig], None]) -> Submit:
    put_upstream("pixazo", one_model("pixazo", NAME))

    def call(*urls: str, **changes: Any) -> httpx.Response:
        headers = [("Ocp-Apim-Subscription-Key", KEY), *(("X-Webhook-URL", url) for url in urls)]
        body = {"prompt": "a fox", **changes}
        return client.post(f"/pixazo/{NAME}/v1/{NAME}-request", json=body, headers=headers)

    return call


@pytest.mark.parametrize(
    ("prompt", "status"), [("a fox", "COMPLETED"), ("forbidden-content", "FAILED")], ids=["made", "refused"]
)
def test_the_final_status_body_is_posted(
    client: httpx.Client, submit: Submit, receiver: Receiver, prompt: str, status: str
) -> None:
    accepted = submit(receiver.url, prompt=prompt)
    path, body = receiver.posts.get(timeout=SECONDS)
    assert (path, body["status"]) == ("/callbacks/token", status)
    asked = client.get(accepted.json()["polling_url"], headers={"Ocp-Apim-Subscription-Key": KEY})
    assert body == asked.json()


def test_it_is_tried_again_until_it_is_taken_and_then_no_more(submit: Submit, receiver: Receiver) -> None:
    receiver.statuses = [500, 302]
    submit(receiver.url)
    first, *again = [receiver.posts.get(timeout=SECONDS) for _ in range(3)]
    assert again == [first, first]
    submit(receiver.url)
    _, other = receiver.posts.get(timeout=SECONDS)
    assert other["request_id"] != first[1]["request_id"]


def test_without_the_header_nothing_is_posted(submit: Submit, receiver: Receiver) -> None:
    assert submit().status_code == 202
    asked = submit(receiver.url)
    _, body = receiver.posts.get(timeout=SECONDS)
    assert body["request_id"] == asked.json()["request_id"]
    assert receiver.posts.empty()


def test_an_answer_that_is_lost_on_its_way_changes_nothing(
    submit: Submit, receiver: Receiver, arm: Callable[..., Any], entries: Callable[..., Any]
) -> None:
    arm(kind="reset", stage="mid_response", count=1)
    with pytest.raises(httpx.TransportError):
        submit(receiver.url)
    _, body = receiver.posts.get(timeout=SECONDS)
    assert [entry["reference"] for entry in entries()] == [body["request_id"]]


@pytest.mark.parametrize(
    "url",
    ["", "hook", "ftp://127.0.0.1/x", "http://", "http://:80/", "http://127.0.0.1:99999/", "http://a b/"],
)
def test_what_is_no_url_is_400_and_named(submit: Submit, url: str) -> None:
    response = submit(url)
    assert response.status_code == 400
    assert "X-Webhook-URL" in response.json()["message"]


def test_two_urls_are_400(submit: Submit, receiver: Receiver) -> None:
    assert submit(receiver.url, receiver.url).status_code == 400


def test_a_url_of_another_machine_is_taken_and_not_called(submit: Submit) -> None:
    assert submit("https://queue.example/callbacks/token").status_code == 202


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8:80", True),
        ("[::1]:80", True),
        ("localhost:8000", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("127.0.0.1@10.0.0.1", False),
        ("10.0.0.1", False),
        ("2130706433", False),
        ("[::ffff:10.0.0.1]", False),
        ("0.0.0.0", False),
    ],
)
def test_only_this_machine_is_called(host: str, *, ours: bool) -> None:
    assert is_of_this_machine(f"http://{host}/callbacks/token") is ours
