"""Pixazo's generate route and status route over real HTTP: what is taken, refused, and answered."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from tests.api.service import BODY, ROUTE, Client, Service, title_and_message
from tests.builders import MODEL

NOTHING = {"jobs": 0, "job_requests": 0, "events": 0, "ledger_entries": 1, "idempotency_keys": 0}
"""Only the deposit."""


def test_the_documented_example_is_queued_and_can_be_polled(client: Client, service: Service) -> None:
    answer = client.generate()
    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"request_id", "status", "polling_url"}
    assert body["status"] == "QUEUED"
    assert body["request_id"].startswith(f"{MODEL}_")
    assert answer.headers["X-Request-Id"] == body["request_id"]
    assert (
        body["polling_url"]
        == f"{service.runtime.settings.public_url}/v2/requests/status/{body['request_id']}"
    )
    poll = client.status(body["request_id"])
    assert poll.status_code == 200
    assert poll.headers["X-Request-Id"] == body["request_id"]
    status = poll.json()
    assert list(status) == [
        "request_id",
        "status",
        "model_id",
        "error",
        "output",
        "created_at",
        "updated_at",
        "completed_at",
        "queue_position",
        "eta_seconds",
    ]
    assert (status["status"], status["model_id"], status["output"], status["error"]) == (
        "QUEUED",
        MODEL,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompt": "ab"}, "prompt"),
        ({"prompt": "a" * 5001}, "prompt"),
        ({"prompt": "   \n"}, "prompt"),
        ({"prompt": "nul \0 inside"}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"num_images": 5}, "num_images"),
        ({"num_images": 0}, "num_images"),
        ({"num_images": True}, "num_images"),
        ({"num_images": "1"}, "num_images"),
        ({"num_images": 1.5}, "num_images"),
        ({"num_images": 1e300}, "num_images"),
        ({"num_images": None}, "num_images"),
        ({"aspect_ratio": "7:3"}, "aspect_ratio"),
        ({"aspect_ratio": "21:9"}, "21:9"),
        ({"output_format": "gif"}, "output_format"),
        ({"sync_mode": 1}, "sync_mode"),
        ({"sync_mode": "false"}, "sync_mode"),
        ({"colour": "red"}, "colour"),
        ({"image_urls": []}, "image_urls"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_charged(
    client: Client, fields: dict[str, Any], told: str
) -> None:
    answer = client.generate(**fields)
    assert answer.status_code == 400
    title, message = title_and_message(answer)
    assert title == "Bad Request"
    assert told in message
    assert answer.headers["x-should-retry"] == "false"
    assert client.service.rows() == NOTHING
    assert client.wallet()["available"] == "10"


@pytest.mark.parametrize(
    "fields",
    [{"prompt": "abc"}, {"prompt": "a" * 5000}, {"num_images": 4}, {"num_images": 2.0}, {"prompt": "🦊🦊🦊"}],
)
def test_limits_are_inclusive_and_count_characters(client: Client, fields: dict[str, Any]) -> None:
    assert client.generate(**fields).status_code == 202


def test_only_the_prompt_is_required(client: Client) -> None:
    assert client.http.post(ROUTE, json={"prompt": "a fox"}).status_code == 202


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("nope", "Model 'nope' not found or is disabled"),
        ("disabled-model", "Model 'disabled-model' not found or is disabled"),
        ("microsoft-mai-image-2-edit", "Model 'microsoft-mai-image-2-edit' not found or is disabled"),
    ],
)
def test_an_unknown_model(client: Client, model: str, told: str) -> None:
    answer = client.generate(f"/{model}/v1/{model}-request")
    assert answer.status_code == 400
    assert title_and_message(answer) == ("Model not found", told)
    assert client.service.rows() == NOTHING


def test_an_empty_wallet_is_402_in_the_documents_words(service: Service) -> None:
    poor = service.client("poor", funds="0")
    answer = poor.generate()
    assert answer.status_code == 402
    assert title_and_message(answer) == ("Insufficient Balance", "Your wallet does not have enough balance.")
    assert answer.headers["x-should-retry"] == "false"
    assert service.rows() == NOTHING | {"ledger_entries": 0}


def test_other_paths_and_methods_are_refused_in_the_envelope(client: Client) -> None:
    for response, status in (
        (client.http.get("/nowhere"), 404),
        (client.http.post(f"/{MODEL}/v1/other-request", json=BODY), 404),
        (client.http.get(ROUTE), 405),
        (client.http.post("/v2/wallet"), 405),
    ):
        assert response.status_code == status
        title_and_message(response)


def test_the_final_body_is_served_byte_for_byte(client: Client, engine: Engine) -> None:
    request_id = client.generate().json()["request_id"]
    fixed = '{"request_id": "x",  "status":"COMPLETED", "ü": "unusual   spacing"}'
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET status = 'COMPLETED', finished_at = clock_timestamp()"))
        statement = text("INSERT INTO job_results (job_id, body) SELECT id, :body FROM jobs")
        connection.execute(statement, {"body": fixed})
    assert client.status(request_id).content == fixed.encode()


@pytest.mark.parametrize(
    "request_id", ["nothing", f"{MODEL}_", f"{MODEL}_01890000-0000-7000-8000-000000000000", "%00"]
)
def test_unknown_ids_are_404(client: Client, request_id: str) -> None:
    answer = client.status(request_id)
    assert answer.status_code == 404
    assert title_and_message(answer)[0] == "Not Found"


def test_an_id_with_another_models_name_is_404(client: Client) -> None:
    request_id = client.generate().json()["request_id"]
    assert client.status(request_id.replace(MODEL, "microsoft-mai-image-2")).status_code == 404


def test_an_alias_is_answered_with_the_models_own_id(client: Client) -> None:
    answer = client.generate("/MAI-Image-2.5/v1/MAI-Image-2.5-request")
    assert answer.json()["request_id"].startswith(f"{MODEL}_")


def test_the_given_origin_of_polling_urls(client: Client, service: Service) -> None:
    url = client.generate().json()["polling_url"]
    path = httpx.URL(url).path
    assert client.http.get(path).status_code == 200
