"""The clients of the Foundry document, in Python: only the resource, the key and the image are their own.

The document sets the resource, the key and the deployment by environment variables, so its programs run as
they stand. With Entra ID they send a bearer token in place of `api-key`; here that is the key.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.live import LiveStack
from tests.media.pictures import picture

pytestmark = pytest.mark.long

HEAD = """
import os
import base64
import requests

endpoint = os.environ["AZURE_ENDPOINT"]
api_key = os.environ["AZURE_API_KEY"]
deployment_name = os.environ["DEPLOYMENT_NAME"]
width = 1024
height = 1024
"""
GENERATE = """
url = f"{endpoint}/mai/v1/images/generations"
payload = {
    "model": deployment_name,
    "prompt": "A photorealistic concept art poster of a university at sunset, cinematic lighting",
    "width": width,
    "height": height
}
response = requests.post(
    url,
    headers={
        "Content-Type": "application/json",
        "api-key": api_key,
    },
    json=payload,
)
"""
EDIT = """
url = f"{endpoint}/mai/v1/images/edits"
reference_image = "reference.png"
image_type = "image/png"
files = [
    ("image", (reference_image, open(reference_image, "rb"), image_type))
]
payload={
    "model": deployment_name,
    "prompt": "Turn this image into a clean futuristic product shot with studio lighting",
}
response = requests.post(
    url,
    headers={
        "api-key": api_key,
    },
    data=payload,
    files=files
)
"""
TAIL = """
response.raise_for_status()
result = response.json()
image_data = [
    output for output in result.get("data", [])
    if "b64_json" in output
]
if image_data:
    image_base64 = image_data[0]["b64_json"]
    output_path = "output.png"
    with open(output_path, "wb") as f:
        f.write(base64.b64decode(image_base64))
    print(f"Image saved to {output_path}")
else:
    print("Unexpected response format:", result)
"""
PROGRAMS = {"generate": HEAD + GENERATE + TAIL, "edit": HEAD + EDIT + TAIL}


def _run(
    program: str, stack: LiveStack, directory: Path, deployment: str
) -> subprocess.CompletedProcess[str]:
    (directory / "reference.png").write_bytes(picture(size=(768, 512)))
    variables = {"AZURE_ENDPOINT": stack.url, "AZURE_API_KEY": stack.key, "DEPLOYMENT_NAME": deployment}
    return subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", program],
        cwd=directory,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("deployment", ["MAI-Image-2.5", "foundry-eastus", "mai-image-2-5"])
@pytest.mark.parametrize("operation", PROGRAMS)
def test_an_example_of_the_document_works_as_it_stands(
    operation: str, deployment: str, stack: LiveStack, tmp_path: Path
) -> None:
    done = _run(PROGRAMS[operation], stack, tmp_path, deployment)
    assert done.stdout == "Image saved to output.png\n", done.stderr
    with Image.open(tmp_path / "output.png") as image:
        assert image.format == "PNG"
        assert operation == "edit" or image.size == (1024, 1024)


@pytest.mark.parametrize("operation", PROGRAMS)
def test_an_example_works_with_a_bearer_token(operation: str, stack: LiveStack, tmp_path: Path) -> None:
    program = PROGRAMS[operation].replace('"api-key": api_key,', '"Authorization": f"Bearer {api_key}",')
    done = _run(program, stack, tmp_path, "MAI-Image-2.5")
    assert done.stdout == "Image saved to output.png\n", done.stderr


def test_the_errors_of_the_document_have_its_statuses_and_envelope(stack: LiveStack) -> None:
    url, body = "/mai/v1/images/generations", {"model": "MAI-Image-2.5", "prompt": "a fox"}
    asked = {
        (401, "401"): stack.client.post(url, json=body, headers={"api-key": "wrong"}),
        (404, "DeploymentNotFound"): stack.client.post(url, json=body | {"model": "no-such-deployment"}),
        (400, "BadRequest"): stack.client.post(url, json=body | {"width": 512, "height": 1024}),
        (405, "405"): stack.client.get(url),
        (404, "404"): stack.client.post("/mai/v1/images/variations", json=body),
    }
    for (status, code), answer in asked.items():
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] == code
        assert set(answer.json()["error"]) == {"code", "message"}
        assert answer.headers["x-should-retry"] == "false"


def test_a_prompt_against_the_content_policy_is_400_and_free(stack: LiveStack) -> None:
    before = stack.wallet()
    body = {"model": "MAI-Image-2.5", "prompt": "forbidden-content"}
    answer = stack.client.post("/mai/v1/images/generations", json=body, timeout=120)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_policy_violation")
    after = stack.wallet()
    assert (after["available"], after["held"]) == (before["available"], before["held"])


def test_an_image_that_the_form_holds_is_edited(stack: LiveStack) -> None:
    files = {"image": ("photo.jpg", picture("jpeg", size=(600, 400)), "image/jpeg")}
    body = {"model": "MAI-Image-2.5", "prompt": "bluer"}
    answer = stack.client.post("/mai/v1/images/edits", data=body, files=files, timeout=120)
    assert set(answer.json()) == {"created", "data"}, answer.text
    (entry,) = answer.json()["data"]
    assert set(entry) == {"b64_json"}
    not_one = {"image": ("photo.jpg", b"plain text", "image/jpeg")}
    refused = stack.client.post("/mai/v1/images/edits", data=body, files=not_one)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BadRequest")
    assert "image" in refused.json()["error"]["message"]
