"""Accounts never see each other, whatever they ask."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imagequeue import backfill_wiring
from tests.api.service import Client, Service
from tests.api.test_batches import order, uploaded
from tests.api.test_webhook_endpoints import FIELDS, OWN


def _job(client: Client) -> str:
    return client.generate().json()["request_id"]


def _batch(client: Client) -> str:
    return client.http.post("/v2/batches", json=order(client)).json()["id"]


def _estimate(client: Client) -> str:
    return client.http.post("/v2/batches/estimate", json=order(client)).json()["id"]


def _endpoint(client: Client) -> str:
    return client.http.post(OWN, json=FIELDS).json()["id"]


def _recovery(client: Client) -> str:
    since = {"since": "2026-01-01T00:00:00Z"}
    return client.http.post("/v2/webhooks/recover", json=since).json()["id"]


OWNED: dict[str, tuple[Callable[[Client], str], str]] = {
    "request_id": (_job, "/v2/requests/status/{id}"),
    "batch_id": (_batch, "/v2/batches/{id}"),
    "file_id": (uploaded, "/v1/files/{id}"),
    "endpoint_id": (_endpoint, f"{OWN}/{{id}}"),
    "recovery_id": (_recovery, "/v2/webhooks/recoveries/{id}"),
}
"""The parts of paths that name what an account has: how it comes to one, and where that is shown."""

NOBODYS = {"model_id", "same_model_id", "name", "token", "key"}
"""The parts of paths that name what no account has: models, and tokens that let in whoever has them."""

DOORS = (OWN, "/v1/webhook_endpoints")
BODIES: dict[str, Callable[[Client], Any]] = {
    "patch /v2/batches/{batch_id}": lambda _: {"weight": 2},
    "post /v2/batches/{batch_id}/retry": lambda _: {},
    "post /v2/batches/{batch_id}/lines": lambda client: {"input_file_id": uploaded(client)},
    **{f"post {door}/{{endpoint_id}}": lambda _: {"name": "another"} for door in DOORS},
    **{f"post {door}/{{endpoint_id}}/rotate_secret": lambda _: {} for door in DOORS},
    **{f"post {door}/{{endpoint_id}}/test": lambda _: {"event_type": "request.completed"} for door in DOORS},
}
"""What is sent on routes that read a body, so that it is not the body for which they refuse."""


@pytest.fixture
def other(service: Service) -> Client:
    return service.client("other")


def _routes(client: Client) -> Iterator[tuple[str, str, str]]:
    """Each documented route about one thing that an account has: method, path, the part that names it."""
    for path, methods in client.http.get("/openapi.json").json()["paths"].items():
        parts = set(re.findall(r"\{(\w+)\}", path)) - NOBODYS
        assert parts <= OWNED.keys(), (
            f"{path}: say in OWNED how an account comes to one, or that nobody has it"
        )
        for part in parts:
            yield from ((method, path, part) for method in methods)


def _asked(client: Client, method: str, path: str, name: str) -> tuple[int, str, str]:
    """Status, request id and error of the answer to a right request about the thing of this name."""
    make = BODIES.get(f"{method} {path}")
    body = {"json": make(client)} if make else {}
    with client.http.stream(method, re.sub(r"\{\w+\}", name, path), **body) as answer:
        told = "" if answer.is_success else answer.read().decode()  # a stream may go on for ever
        return answer.status_code, answer.headers.get("X-Request-Id", ""), told


def test_what_another_account_has_does_not_exist_on_any_route(client: Client, other: Client) -> None:
    routes = list(_routes(client))
    assert {part for _, _, part in routes} == OWNED.keys()
    for method, path, part in routes:
        where = f"{method} {path}"
        make, shown = OWNED[part]
        name = (_estimate if path.endswith("/estimate") else make)(client)
        nobodys = name[:-4] + "0000"
        before = client.http.get(shown.format(id=name)).json()
        refused = _asked(other, method, path, name)
        status, request_id, told = refused
        assert (status, request_id) == (404, ""), where
        assert _asked(other, method, path, nobodys) == (404, "", told.replace(name, nobodys)), where
        assert client.http.get(shown.format(id=name)).json() == before, where
        assert _asked(client, method, path, name) != refused, f"{where}: its owner has it"


def test_the_file_of_another_account_is_appended_to_no_batch(client: Client, other: Client) -> None:
    path, theirs = f"/v2/batches/{_batch(other)}/lines", uploaded(client)
    validation = backfill_wiring.validation(client.service.runtime, threading.Event())
    while validation.run_once():
        pass
    refused = other.http.post(path, json={"input_file_id": theirs})
    nobodys = other.http.post(path, json={"input_file_id": theirs[:-4] + "0000"})
    assert (refused.status_code, nobodys.status_code) == (400, 400)
    assert refused.text.replace(theirs, "") == nobodys.text.replace(theirs[:-4] + "0000", "")


def test_lists_and_wallets_hold_only_ones_own(client: Client, other: Client) -> None:
    mine = client.generate().json()["request_id"]
    theirs = other.generate().json()["request_id"]
    listed = client.http.get("/v2/requests").json()["data"]
    assert [job["request_id"] for job in listed] == [mine]
    assert theirs not in json.dumps(client.wallet())
    assert theirs not in client.http.get("/v2/requests", params={"cursor": theirs.rpartition("_")[2]}).text


@pytest.mark.parametrize(
    ("path", "make"),
    [("/v1/batches", _batch), ("/v2/batches", _batch), ("/v1/files", uploaded), (OWN, _endpoint)],
)
def test_a_list_holds_only_ones_own(
    client: Client, other: Client, path: str, make: Callable[[Client], str]
) -> None:
    mine, theirs = make(client), make(other)
    (listed,) = client.http.get(path).json()["data"]
    assert listed["id"] == mine
    assert theirs not in client.http.get(path, params={"limit": 100}).text


def test_one_accounts_money_does_not_pay_for_another(service: Service) -> None:
    rich, poor = service.client("rich"), service.client("poor", funds="0")
    assert poor.generate().status_code == 402
    assert rich.wallet()["available"] == "10"
