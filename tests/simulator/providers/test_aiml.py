"""AIML API as its document has it."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from simulator.config import UpstreamConfig
from tests.simulator.conftest import KEY, one_model, opened

NAME = "microsoft/mai-image-2.5"

Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(client: httpx.Client, put_upstream: Callable[[str, UpstreamConfig], None]) -> Ask:
    put_upstream("aiml", one_model("aiml", NAME, operations=["generate"], cost_usd="0.0626835"))

    def call(key: str = KEY, **changes: Any) -> httpx.Response:
        body = {"model": NAME, "prompt": "a fox", **changes}
        headers = {"Authorization": f"Bearer {key}"}
        return client.post("/aiml/v1/images/generations", json=body, headers=headers)

    return call


def download(client: httpx.Client, response: httpx.Response) -> httpx.Response:
    (item,) = response.json()["data"]
    return client.get(item["url"], headers={"api-key": ""})


def test_the_answer_has_a_url_that_downloads_and_what_was_spent(client: httpx.Client, ask: Ask) -> None:
    response = ask(aspect_ratio="16:9", temperature=2, max_tokens=1)
    assert response.status_code == 200
    assert response.json()["meta"]["usage"] == {"credits_used": 125_367, "usd_spent": 0.0626835}
    assert response.json()["created"] > 1_700_000_000_000
    file = download(client, response)
    assert file.headers["content-type"] == "image/png"
    image = opened(file.content)
    assert image.width / image.height == pytest.approx(16 / 9, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"aspect_ratio": "21:9"}, "aspect_ratio"),
        ({"aspect_ratio": "auto"}, "aspect_ratio"),
        ({"temperature": 2.1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": 1}, "n"),
        ({"response_format": "b64_json"}, "response_format"),
    ],
)
def test_what_the_schema_refuses_is_400_and_named(ask: Ask, changes: dict[str, Any], named: str) -> None:
    response = ask(**changes)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["type"]) == (named, "invalid_request_error")


def test_wrong_keys_models_and_policy(ask: Ask) -> None:
    assert ask(key="wrong").status_code == 401
    assert ask(model="other").status_code == 404
    refused = ask(prompt="forbidden-content")
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "content_policy_violation"


@pytest.mark.parametrize("kind", ["not_an_image", "bomb", "truncated_base64", "oversized"])
def test_spoiled_images_are_behind_the_url(
    client: httpx.Client, ask: Ask, arm: Callable[..., Any], kind: str
) -> None:
    arm(kind=kind, size_bytes=2_000_000, count=1)
    response = ask()
    assert response.status_code == 200
    file = download(client, response)
    assert file.status_code == 200
    if kind == "oversized":
        assert len(file.content) == 2_000_000
    else:
        with pytest.raises(Exception, match=r"cannot identify|exceeds limit|truncated"):
            opened(file.content)


def test_no_data_is_null_and_fewer_is_empty(ask: Ask, arm: Callable[..., Any]) -> None:
    arm(kind="no_data", count=1)
    assert ask().json()["data"] is None
    arm(kind="fewer_images", count=1)
    assert ask().json()["data"] == []


def test_downloads_are_hit_only_when_named(client: httpx.Client, ask: Ask, arm: Callable[..., Any]) -> None:
    arm(kind="status", status=503, match={"operation": "download", "prompt_contains": "owl"}, count=1)
    assert download(client, ask()).status_code == 200
    response = ask(prompt="an owl")
    assert response.status_code == 200
    assert [download(client, response).status_code for _ in range(2)] == [503, 200]
    arm(kind="redirect", location="http://10.0.0.1/", match={"operation": "download"}, count=1)
    assert download(client, response).headers["location"] == "http://10.0.0.1/"
    arm(kind="reset", stage="mid_response", match={"operation": "download"}, count=1)
    with pytest.raises(httpx.ReadError):
        download(client, response)


def test_unknown_files_are_404(client: httpx.Client, ask: Ask) -> None:
    ask()
    assert client.get(f"/aiml/files/{'0' * 32}.png").status_code == 404


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_links_lead_over_redirects_to_the_image(
    client: httpx.Client, ask: Ask, arm: Callable[..., Any], hops: int
) -> None:
    arm(kind="redirected_links", hops=hops, count=1)
    (item,) = ask().json()["data"]
    response = client.get(item["url"], headers={"api-key": ""}, follow_redirects=True)
    assert [one.is_redirect for one in response.history] == [True] * hops
    assert opened(response.content)
