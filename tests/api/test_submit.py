"""A submit in whatever form its dialect takes, from its body to a durable job."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.providers.registry import PROVIDERS
from tests.api.second import IMAGES, failure, submit, submit_form
from tests.api.service import Client, Service
from tests.builders import MODEL
from tests.media.pictures import picture


def test_a_job_is_accepted_and_asked_for_in_the_dialects_words(second: Client) -> None:
    answer = submit(second, label="red")
    assert (answer.status_code, answer.headers["X-Second"]) == (202, "accepted")
    request_id = answer.json()["id"]
    assert answer.json()["look"] == f"{second.service.runtime.settings.public_origin}{IMAGES}/{request_id}"
    assert answer.headers["X-Request-Id"] == request_id
    status = second.http.get(f"{IMAGES}/{request_id}")
    assert status.json() == {
        "id": request_id,
        "state": "queued",
        "label": "red",
        "pictures": [],
        "failure": None,
    }
    assert status.headers["X-Request-Id"] == request_id
    assert second.status(request_id).json()["status"] == "QUEUED", "the universal route knows it too"


def test_a_form_with_a_file_is_an_edit_of_it(second: Client, engine: Engine) -> None:
    assert submit_form(second, picture()).status_code == 202
    with engine.connect() as connection:
        row = connection.execute(text("SELECT parameters, dialect, notes FROM job_requests")).one()
    assert (row.parameters["operation"], row.parameters["image_count"]) == ("edit", 2)
    (key,) = row.parameters["input_images"]
    assert second.service.runtime.storage.get(key).startswith(b"\x89PNG")
    assert (row.dialect, json.loads(row.notes)) == ("second", {"label": ""})


def test_a_large_form_waits_for_its_turn_like_a_large_object(second: Client) -> None:
    large = picture(size=(400, 300), compress_level=0)
    assert len(large) > 256 * 1024
    assert submit_form(second, large).status_code == 202


def test_a_repeated_form_is_the_same_submit_and_another_file_is_not(second: Client) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = (submit_form(second, picture(), headers=key) for _ in range(2))
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    other = submit_form(second, picture(size=(41, 30)), headers=key)
    assert (other.status_code, failure(other)[0]) == (422, "422")
    assert second.service.rows()["jobs"] == 1


def test_notes_that_are_too_long_to_be_kept_are_refused(second: Client) -> None:
    answer = submit(second, label="x" * 17_000)
    assert (answer.status_code, "longer ones" in failure(answer)[1]) == (400, True)
    assert second.service.rows()["jobs"] == 0


def test_notes_may_hold_what_the_database_cannot(second: Client) -> None:
    request_id = submit(second, label="nul \0 inside").json()["id"]
    assert second.http.get(f"{IMAGES}/{request_id}").json()["label"] == "nul \0 inside"


@pytest.mark.parametrize("change", ["disabled", "gone", "without its operation"])
def test_a_repeat_gets_its_first_answer_whatever_has_become_of_its_model(
    client: Client, service: Service, change: str
) -> None:
    key = {"Idempotency-Key": "once"}
    first = client.generate(headers=key)
    models = {
        "disabled": [{"id": MODEL, "price_usd": "1", "enabled": False}],
        "gone": [{"id": "another", "price_usd": "1"}],
        "without its operation": [{"id": MODEL, "price_usd": "1", "operations": ["edit"]}],
    }
    service.runtime.catalog = parse_catalog({"models": models[change]}, {}, PROVIDERS)
    again = client.generate(headers=key)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["X-Request-Id"] == first.json()["request_id"]
    assert client.generate(headers=key, prompt="another prompt").status_code in {400, 422}
    assert client.generate(headers={"Idempotency-Key": "new"}).status_code == 400
    assert service.client("other").generate(headers=key).status_code == 400
    assert service.rows()["jobs"] == 1
