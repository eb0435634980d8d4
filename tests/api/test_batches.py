"""Batches at OpenAI's door: created, followed, listed and cancelled, and what is refused with its field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI

from tests.api.service import Client, Service

URL = "/v1/images/generations"


def lines(count: int = 2) -> bytes:
    """A file of so many lines."""
    body = {"model": "MAI-Image-2.5", "prompt": "a lighthouse"}
    return b"".join(
        json.dumps({"custom_id": f"line-{number}", "method": "POST", "url": URL, "body": body}).encode()
        + b"\n"
        for number in range(count)
    )


def uploaded(client: Client, content: bytes | None = None) -> str:
    """A stored file."""
    file = ("lines.jsonl", lines() if content is None else content)
    answer = client.http.post("/v1/files", data={"purpose": "batch"}, files={"file": file})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def order(client: Client, **changes: Any) -> dict[str, Any]:
    """The body of a creation."""
    given = {"input_file_id": changes.pop("input_file_id", None) or uploaded(client)}
    return {**given, "endpoint": URL, "completion_window": "24h", **changes}


def test_the_openai_client_creates_reads_lists_and_cancels(client: Client) -> None:
    with OpenAI(api_key=client.key, base_url=f"{client.service.url}/v1", max_retries=0) as openai:
        file = openai.files.create(file=("lines.jsonl", lines()), purpose="batch")
        made = openai.batches.create(
            input_file_id=file.id,
            endpoint="/v1/images/generations",
            completion_window="24h",
            metadata={"team": "a"},
        )
        assert (made.status, made.object, made.endpoint) == ("validating", "batch", URL)
        assert (made.input_file_id, made.metadata, made.expires_at) == (file.id, {"team": "a"}, None)
        assert (made.output_file_id, made.error_file_id, made.errors) == (None, None, None)
        other = openai.batches.create(
            input_file_id=file.id, endpoint="/v1/images/generations", completion_window="24h"
        )
        assert openai.batches.retrieve(made.id).id == made.id
        assert [one.id for one in openai.batches.list(limit=1)] == [other.id, made.id]
        assert openai.batches.cancel(made.id).status == "cancelling"


def test_a_batch_of_another_account_is_not_there(service: Service) -> None:
    client, other = service.client("one"), service.client("two")
    batch_id = client.http.post("/v1/batches", json=order(client)).json()["id"]
    for door in ("v1", "v2"):
        assert other.http.get(f"/{door}/batches/{batch_id}").status_code == 404
        assert other.http.post(f"/{door}/batches/{batch_id}/cancel").status_code == 404
        assert other.http.get(f"/{door}/batches").json()["data"] == []
    taken = other.http.post("/v1/batches", json=order(other, input_file_id=uploaded(client)))
    assert taken.status_code == 400
    assert "input_file_id" in taken.text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"input_file_id": "file-nothing"}, "input_file_id"),
        ({"input_file_id": "file-019d00000000700080000000000000a1"}, "input_file_id"),
        ({"input_file_id": 1}, "input_file_id"),
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": "91d"}, "completion_window"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {f"key-{number}": "x" for number in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_what_is_wrong_is_refused_by_its_field(client: Client, changes: dict[str, Any], field: str) -> None:
    answer = client.http.post("/v1/batches", json=order(client, **changes))
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
    assert client.http.get("/v1/batches").json()["data"] == []


def test_a_lane_of_its_own_is_refused_and_deadlines_are_the_batchs(client: Client) -> None:
    refused = client.http.post("/v1/batches", json=order(client), headers={"X-Lane": "interactive"})
    assert (refused.status_code, "X-Lane" in refused.text) == (400, True)
    made = client.http.post(
        "/v1/batches",
        json=order(client, completion_window="2d"),
        headers={"X-Lane": "backfill", "X-Finish-By": "3600"},
    ).json()
    assert 3590 <= made["expires_at"] - made["created_at"] <= 3600


def test_the_same_order_again_makes_no_second_batch(client: Client) -> None:
    body, key = order(client), {"Idempotency-Key": "backfill-1"}
    first = client.http.post("/v1/batches", json=body, headers=key)
    again = client.http.post("/v1/batches", json=body, headers=key)
    assert (again.json()["id"], again.headers["Idempotent-Replayed"]) == (first.json()["id"], "true")
    other = client.http.post("/v1/batches", json=body | {"metadata": {"a": "b"}}, headers=key)
    assert other.status_code == 422
    retried = client.http.post("/v1/batches", json=order(client), headers={"x-stainless-retry-count": "0"})
    assert retried.json()["id"] != first.json()["id"]
