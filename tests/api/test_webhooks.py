"""The routes of `/v2/webhooks`."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from imagequeue.lifecycle.operate.accounts import open_webhook_secrets
from tests.api.service import Client, Service


def _secrets(client: Client) -> list[str]:
    with client.service.engine.connect() as connection:
        sealed = connection.execute(
            text("SELECT webhook_secrets FROM accounts WHERE id = :id"), {"id": client.account_id}
        ).scalar_one()
    return open_webhook_secrets(client.service.runtime.keyring, sealed)


def test_a_client_rotates_the_secret_of_its_own_account_alone(service: Service) -> None:
    client, other = service.client("one"), service.client("two")
    (before,), others = _secrets(client), _secrets(other)
    answer = client.http.post("/v2/webhooks/rotate-secret")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert _secrets(client) == [answer.json()["webhook_secret"], before]
    assert answer.json()["old_secrets_until"]
    assert _secrets(other) == others


def test_a_rotation_without_an_overlap_leaves_no_old_secret(client: Client) -> None:
    answer = client.http.post("/v2/webhooks/rotate-secret", json={"overlap_hours": 0}).json()
    assert answer["old_secrets_until"] is None
    assert _secrets(client) == [answer["webhook_secret"]]


@pytest.mark.parametrize("hours", [-1, 169, "1", True, None])
def test_an_overlap_that_is_none_is_refused_and_changes_nothing(client: Client, hours: Any) -> None:
    before = _secrets(client)
    answer = client.http.post("/v2/webhooks/rotate-secret", json={"overlap_hours": hours})
    assert answer.status_code == 400
    assert "overlap_hours" in answer.json()["message"]
    assert _secrets(client) == before


def test_no_more_secrets_sign_than_a_header_can_bear(client: Client) -> None:
    answers = [client.http.post("/v2/webhooks/rotate-secret") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 400]
    assert len(_secrets(client)) == 5
