"""Pixazo as an upstream: submit, poll, download."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from simulator.config import UpstreamConfig
from simulator.jobs import Job
from tests.simulator.conftest import KEY, data_url, one_model, opened

NAME = "microsoft-mai-image-2-5"
FINAL = {"COMPLETED", "FAILED", "ERROR"}

Ask = Callable[..., httpx.Response]


@pytest.fixture
def submit(client: httpx.Client, put_upstream: Callable[[str, UpstreamConfig], None]) -> Ask:
    put_upstream("pixazo", one_model("pixazo", NAME))
    client.headers["Ocp-Apim-Subscription-Key"] = KEY

    def call(model: str = NAME, **changes: Any) -> httpx.Response:
        return client.post(f"/pixazo/{model}/v1/{model}-request", json={"prompt": "a fox", **changes})

    return call


def final(client: httpx.Client, response: httpx.Response) -> dict[str, Any]:
    """Poll until the job is final; the models of these tests have no latency."""
    assert response.status_code == 202, response.text
    while (body := client.get(response.json()["polling_url"]).json())["status"] not in FINAL:
        continue
    return body


def test_a_job_is_submitted_polled_and_downloaded(client: httpx.Client, submit: Ask) -> None:
    accepted = submit(num_images=3, aspect_ratio="9:16", output_format="jpeg", sync_mode=False)
    assert set(accepted.json()) == {"request_id", "status", "polling_url"}
    assert accepted.json()["status"] == "QUEUED"
    assert accepted.json()["request_id"].startswith(f"{NAME}_")
    body = final(client, accepted)
    assert (body["status"], body["model_id"], body["error"]) == ("COMPLETED", NAME, None)
    assert body["output"]["media_type"] == "image/jpeg"
    assert body["completed_at"].endswith("Z")
    images = [opened(client.get(url).content) for url in body["output"]["media_url"]]
    assert [image.format for image in images] == ["JPEG"] * 3
    assert images[0].width / images[0].height == pytest.approx(9 / 16, rel=0.01)


def test_a_job_goes_through_its_states_by_the_clock_alone() -> None:
    job = Job(
        reference="m_1",
        upstream="p",
        model="m",
        model_id="m",
        prompt="x",
        media=("u",),
        media_type="image/png",
        created=0,
        accepted_ns=1000,
        duration_ns=100,
    )
    assert [job.status(now) for now in (1000, 1019, 1020, 1099, 1100)] == [
        "QUEUED",
        "QUEUED",
        "PROCESSING",
        "PROCESSING",
        "COMPLETED",
    ]


def test_while_it_waits_it_has_no_output(
    client: httpx.Client, submit: Ask, put_upstream: Callable[[str, UpstreamConfig], None]
) -> None:
    put_upstream("pixazo", one_model("pixazo", NAME, latency_ms=[60_000, 60_000]))
    started = time.monotonic()
    accepted = submit()
    assert time.monotonic() - started < 50
    body = client.get(accepted.json()["polling_url"]).json()
    assert body["status"] in {"QUEUED", "PROCESSING"}
    assert (body["output"], body["completed_at"]) == (None, None)


@pytest.mark.parametrize("url", [data_url(), "https://example.com/fox.jpeg"])
def test_an_edit_names_its_model_with_the_suffix(
    client: httpx.Client, submit: Ask, entries: Callable[..., Any], url: str
) -> None:
    accepted = submit(f"{NAME}-edit", image_urls=[url])
    body = final(client, accepted)
    assert body["model_id"] == f"{NAME}-edit"
    assert body["request_id"].startswith(f"{NAME}-edit_")
    (entry,) = entries()
    assert (entry["operation"], entry["model"]) == ("edit", NAME)
    assert entry["reference"] == body["request_id"]


def test_sync_mode_answers_with_data_uris(submit: Ask) -> None:
    response = submit(sync_mode=True, output_format="webp")
    assert response.status_code == 200
    body = response.json()
    (url,) = body["output"]["media_url"]
    assert url.startswith("data:image/webp;base64,")
    assert opened(url).format == "WEBP"
    assert body["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("model", "changes", "named"),
    [
        (NAME, {"prompt": "ab"}, "prompt"),
        (NAME, {"prompt": "x" * 5001}, "prompt"),
        (NAME, {"num_images": 0}, "num_images"),
        (NAME, {"num_images": 5}, "num_images"),
        (NAME, {"aspect_ratio": "1:2"}, "aspect_ratio"),
        (NAME, {"output_format": "gif"}, "output_format"),
        (NAME, {"sync_mode": "yes"}, "sync_mode"),
        (NAME, {"image_urls": ["https://example.com/a.png"]}, "image_urls"),
        (NAME, {"seed": 1}, "seed"),
        (f"{NAME}-edit", {}, "image_urls"),
        (f"{NAME}-edit", {"image_urls": []}, "image_urls"),
        (f"{NAME}-edit", {"image_urls": [data_url()] * 2}, "image_urls"),
        (f"{NAME}-edit", {"image_urls": ["file:///etc/passwd"]}, "image_urls"),
        (f"{NAME}-edit", {"image_urls": ["data:text/plain,x"]}, "image_urls"),
        (f"{NAME}-edit", {"image_urls": [data_url()], "aspect_ratio": "21:9"}, "aspect_ratio"),
    ],
)
def test_what_the_document_refuses_is_400_and_named(
    submit: Ask, model: str, changes: dict[str, Any], named: str
) -> None:
    response = submit(model, **changes)
    assert response.status_code == 400
    assert response.json()["error"] == "Bad Request"
    assert named in response.json()["message"]


@pytest.mark.parametrize("model", ["other", "other-edit"])
def test_an_unknown_model_is_400_in_the_documents_words(submit: Ask, model: str) -> None:
    response = submit(model)
    assert response.status_code == 400
    message = f"Model '{model}' not found or is disabled"
    assert response.json() == {"error": "Model not found", "message": message}


def test_credentials_are_asked_for_on_submit_and_poll(client: httpx.Client, submit: Ask) -> None:
    accepted = submit()
    client.headers["Ocp-Apim-Subscription-Key"] = "wrong"
    assert submit().status_code == 401
    assert client.get(accepted.json()["polling_url"]).status_code == 401


def test_unknown_ids_and_mismatched_paths_are_404(client: httpx.Client, submit: Ask) -> None:
    submit()
    assert client.get("/pixazo/v2/requests/status/nothing").status_code == 404
    assert client.post(f"/pixazo/{NAME}/v1/{NAME}-edit-request", json={"prompt": "fox"}).status_code == 404


def test_a_forbidden_prompt_fails_later_and_at_once_in_sync_mode(client: httpx.Client, submit: Ask) -> None:
    body = final(client, submit(prompt="forbidden-content"))
    assert (body["status"], body["output"]) == ("FAILED", None)
    assert "policy" in body["error"]
    assert submit(prompt="forbidden-content", sync_mode=True).status_code == 400


@pytest.mark.parametrize(("kind", "status"), [("job_error", "ERROR"), ("job_failed", "FAILED")])
def test_jobs_end_badly_on_demand(
    client: httpx.Client, submit: Ask, arm: Callable[..., Any], kind: str, status: str
) -> None:
    arm(kind=kind, message="as asked", count=1)
    body = final(client, submit())
    assert (body["status"], body["error"], body["output"]) == (status, "as asked", None)


def test_a_stuck_job_and_one_without_output(
    client: httpx.Client, submit: Ask, arm: Callable[..., Any]
) -> None:
    arm(kind="job_stuck", count=1)
    stuck = submit()
    arm(kind="no_data", count=1)
    body = final(client, submit())
    assert (body["status"], body["output"]) == ("COMPLETED", None)
    assert client.get(stuck.json()["polling_url"]).json()["status"] == "PROCESSING"


def test_polls_can_fail_and_the_submit_is_counted_once(
    client: httpx.Client, submit: Ask, arm: Callable[..., Any], entries: Callable[..., Any]
) -> None:
    arm(kind="status", status=402, match={"operation": "poll"}, count=1)
    accepted = submit()
    failed = client.get(accepted.json()["polling_url"])
    assert (failed.status_code, failed.json()["error"]) == (402, "Insufficient Balance")
    assert final(client, accepted)["status"] == "COMPLETED"
    assert len(entries()) == 1


def test_spoiled_media(client: httpx.Client, submit: Ask, arm: Callable[..., Any]) -> None:
    arm(kind="not_an_image", count=1)
    (url,) = final(client, submit())["output"]["media_url"]
    assert client.get(url).content.startswith(b"The image is being prepared")
    arm(kind="fewer_images", count=1)
    assert len(final(client, submit(num_images=2))["output"]["media_url"]) == 1
