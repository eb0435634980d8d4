"""Endpoints over HTTP, and by OpenAI's client."""

from __future__ import annotations

from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from imagequeue.domain.webhook_events import EVENT_TYPES, MOST_ENDPOINTS
from tests.api.service import Client, Service

OWN = "/v2/webhooks/endpoints"
FIELDS = {"name": "mine", "url": "https://a.example/hook", "event_types": ["request.completed"]}


def _create(client: Client, **changes: Any) -> Any:
    return client.http.post(OWN, json=FIELDS | changes)


def _openai(client: Client) -> Any:
    """OpenAI's client. Its types know only OpenAI's own events."""
    return OpenAI(api_key=client.key, base_url=f"{client.service.url}/v1", max_retries=0)


def test_the_openai_client_does_everything_with_the_same_rows(client: Client) -> None:
    with _openai(client) as openai:
        made = openai.webhooks.create(name="a", url="https://a.example/1", event_types=["batch.completed"])
        assert made.signing_secret.startswith("whsec_")
        other = openai.webhooks.create(name="b", url="https://a.example/2", event_types=["request.*"])
        assert [one.id for one in openai.webhooks.list(limit=1)] == [other.id, made.id]
        changed = openai.webhooks.update(made.id, name="c")
        assert (changed.name, changed.url, changed.event_types) == ("c", made.url, ["batch.completed"])
        assert openai.webhooks.retrieve(made.id).name == "c"
        rotated = openai.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
        assert rotated.signing_secret != made.signing_secret
        assert openai.webhooks.event_types.list().data == list(EVENT_TYPES)
        assert openai.webhooks.delete(made.id).deleted is True
        with pytest.raises(NotFoundError):
            openai.webhooks.retrieve(made.id)
    listed = client.http.get(OWN).json()
    assert [one["id"] for one in listed["data"]] == [other.id] == [listed["first_id"]]
    assert "signing_secret" not in listed["data"][0]


def test_an_endpoint_of_another_account_is_not_there(service: Service) -> None:
    client, other = service.client("one"), service.client("two")
    path = f"{OWN}/{_create(client).json()['id']}"
    assert other.http.get(path).status_code == 404
    assert other.http.post(path, json={"name": "x"}).status_code == 404
    assert other.http.delete(path).status_code == 404
    assert other.http.post(f"{path}/rotate_secret").status_code == 404
    assert other.http.post(f"{path}/test", json={"event_type": "batch.failed"}).status_code == 404
    assert other.http.get(OWN).json()["data"] == []
    assert client.http.get(path).json()["name"] == "mine"


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://a.example/hook"},
        {"url": "https://127.0.0.1/hook"},
        {"url": "https://a.local/hook"},
        {"url": None},
        {"name": ""},
        {"name": "x" * 101},
        {"event_types": []},
        {"event_types": ["response.completed"]},
        {"event_types": "request.completed"},
        {"secret": "mine"},
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(client: Client, changes: dict[str, Any]) -> None:
    assert _create(client, **changes).status_code == 400
    assert client.http.get(OWN).json()["data"] == []


def test_a_change_is_checked_like_a_new_one(client: Client) -> None:
    made = _create(client).json()
    refused = client.http.post(f"{OWN}/{made['id']}", json={"url": "https://10.0.0.1/"})
    assert refused.status_code == 400
    assert client.http.get(f"{OWN}/{made['id']}").json()["url"] == FIELDS["url"]


def test_an_account_has_a_limited_number_of_endpoints(client: Client) -> None:
    statuses = [_create(client).status_code for _ in range(MOST_ENDPOINTS + 1)]
    assert statuses == [200] * MOST_ENDPOINTS + [400]
    first = client.http.get(OWN).json()["data"][0]["id"]
    assert client.http.delete(f"{OWN}/{first}").status_code == 200
    assert _create(client).status_code == 200


def test_a_test_that_reaches_nobody_says_why(service: Service) -> None:
    client = service.client()
    path = f"{OWN}/{_create(client, url='https://nobody.example/').json()['id']}/test"
    refused = client.http.post(path, json={"event_type": "request.completed"})
    assert refused.status_code == 400
    assert "did not answer: dns_error" in refused.json()["message"]
    assert client.http.post(path, json={"event_type": "request.*"}).status_code == 400


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "more=1", "limit=1&limit=2"])
def test_a_page_that_is_none_is_refused_by_the_parameters_name(client: Client, query: str) -> None:
    refused = client.http.get(f"{OWN}?{query}")
    assert refused.status_code == 400
    assert query.partition("=")[0] in refused.json()["message"]


def test_a_page_behind_no_endpoint_is_not_there(client: Client) -> None:
    assert client.http.get(f"{OWN}?after=we_x").status_code == 404
