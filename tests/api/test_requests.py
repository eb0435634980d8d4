"""What an account sees of one of its jobs: attempts, cancelling, its name in every answer."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.ids import new_id
from imagequeue.store.attempts.quota import ensure_groups
from tests.api.service import Client, Service, title_and_message


def test_a_queued_job_has_no_attempts_yet(client: Client) -> None:
    request_id = client.generate().json()["request_id"]
    answer = client.http.get(f"/v2/requests/{request_id}/attempts")
    assert answer.json() == {"data": []}
    assert answer.headers["X-Request-Id"] == request_id


@pytest.mark.parametrize(
    ("state", "operator", "told"),
    [("REFUSED", False, True), ("MISCONFIGURED", False, False), ("MISCONFIGURED", True, True)],
)
def test_what_an_upstream_says_of_our_account_is_for_operators(
    service: Service,
    state: str,
    operator: bool,  # noqa: FBT001
    told: bool,  # noqa: FBT001
) -> None:
    client = service.client("asker", operator=operator)
    request_id = client.generate().json()["request_id"]
    with service.engine.begin() as connection:
        ensure_groups(connection, service.runtime.catalog.quota_groups.values())
        connection.execute(
            text("""
                INSERT INTO attempts (id, job_id, deployment, quota_group, lane, image_count, state, slot_at,
                    token_returns_at, release_deadline, called_at, finished_at, http_status, reason, cost_usd)
                SELECT CAST(:id AS uuid), id, 'east', 'foundry-test', 'interactive', 1, :state, now(), now(),
                    now(), now(), now(), 403, 'why', 0.033 FROM jobs
            """),
            {"id": str(new_id()), "state": state},
        )
    (attempt,) = client.http.get(f"/v2/requests/{request_id}/attempts").json()["data"]
    assert (attempt["deployment"], attempt["outcome"], attempt["cost_usd"]) == ("east", state, "0.033")
    assert attempt["reason"] == ("why" if told else None)


def test_a_cancelled_job_is_failed_and_its_hold_returned(client: Client) -> None:
    request_id = client.generate(num_images=3).json()["request_id"]
    answer = client.http.post(f"/v2/requests/{request_id}/cancel")
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["error"]) == ("FAILED", "cancelled")
    assert client.status(request_id).content == answer.content
    wallet = client.wallet()
    assert (wallet["available"], wallet["held"], wallet["spent"]) == ("10", "0", "0")
    again = client.http.post(f"/v2/requests/{request_id}/cancel")
    assert again.status_code == 409
    assert title_and_message(again) == ("Conflict", "The job is already final.")
    assert again.headers["X-Request-Id"] == request_id


def test_an_own_job_is_named_also_when_the_answer_goes_wrong(client: Client, engine: Engine) -> None:
    request_id = client.generate().json()["request_id"]
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE attempts RENAME TO attempts_gone"))
    answer = client.http.get(f"/v2/requests/{request_id}/attempts")
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] == request_id
