"""Accounts never see each other, whatever they ask."""

from __future__ import annotations

import json

import pytest

from tests.api.service import Client, Service, title_and_message


@pytest.fixture
def other(service: Service) -> Client:
    return service.client("other")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/requests/status/{id}"),
        ("GET", "/v2/requests/{id}/attempts"),
        ("GET", "/v2/requests/{id}/events"),
        ("POST", "/v2/requests/{id}/cancel"),
    ],
)
def test_somebody_elses_job_does_not_exist(client: Client, other: Client, method: str, path: str) -> None:
    request_id = client.generate().json()["request_id"]
    answer = other.http.request(method, path.format(id=request_id))
    nobodys = other.http.request(method, path.format(id=request_id[:-4] + "0000"))
    assert (answer.status_code, nobodys.status_code) == (404, 404)
    assert "X-Request-Id" not in answer.headers
    told, told_of_nobodys = title_and_message(answer), title_and_message(nobodys)
    assert told[0] == told_of_nobodys[0]
    assert told[1].replace(request_id, "") == told_of_nobodys[1].replace(request_id[:-4] + "0000", "")
    assert client.status(request_id).json()["status"] == "QUEUED"


def test_lists_and_wallets_hold_only_ones_own(client: Client, other: Client) -> None:
    mine = client.generate().json()["request_id"]
    theirs = other.generate().json()["request_id"]
    listed = client.http.get("/v2/requests").json()["data"]
    assert [job["request_id"] for job in listed] == [mine]
    assert theirs not in json.dumps(client.wallet())
    assert theirs not in client.http.get("/v2/requests", params={"cursor": theirs.rpartition("_")[2]}).text


def test_one_accounts_money_does_not_pay_for_another(service: Service) -> None:
    rich, poor = service.client("rich"), service.client("poor", funds="0")
    assert poor.generate().status_code == 402
    assert rich.wallet()["available"] == "10"
