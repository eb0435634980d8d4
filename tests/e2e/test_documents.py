"""The request examples of the AIML and of the Omixa document, in Python, JavaScript and cURL, as they stand.

Only host, key and the picture that stands for "base64-reference" are our own. Where an example prints
nothing, a line that prints the answer follows it. PHP, C# and Go are not installed where this suite runs: the
request is read from the text of these examples, and sent with the headers that the language's client adds.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.e2e.live import LiveStack
from tests.e2e.test_examples import node, require

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parent / "documents"
HOSTS = ("https://api.aimlapi.com", "http://omixa.cloud")
KEYS = ("<YOUR_AIMLAPI_KEY>", "omx_live_xxx")
LANGUAGES = {"python": (sys.executable, "py"), "javascript": (node(), "mjs"), "curl": ("bash", "sh")}
REQUESTS: dict[str, tuple[str, dict[str, str]]] = {
    "php": (r"CURLOPT_POSTFIELDS => '(.*?)'", {"Content-Type": "application/json", "Expect": "100-continue"}),
    "csharp": (r'json = @"(.*?)";', {"Content-Type": "application/json; charset=utf-8"}),
    "go": (
        r"\[\]byte\(`(.*?)`\)",
        {
            "Content-Type": "application/json",
            "User-Agent": "Go-http-client/1.1",
            "Accept-Encoding": "gzip",
        },
    ),
}
"""By language: where an example has the body, and the headers that its client sends of its own."""
PRINT = {"omixa_javascript": "\nconsole.log(JSON.stringify(data));\n"}


def _printed(name: str, stack: LiveStack, folder: Path) -> str:
    """What an example prints."""
    text = _text(name, stack)
    runner, suffix = LANGUAGES[name.partition("_")[2]]
    require("curl" if suffix == "sh" else runner)
    program = folder / f"example.{suffix}"
    program.write_text(text + PRINT.get(name, ""), "utf-8")
    done = subprocess.run([runner, program], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def _text(name: str, stack: LiveStack) -> str:
    """An example, for the stack."""
    text = (EXAMPLES / f"{name}.txt").read_text("utf-8").replace("<base64-reference>", _picture())
    for host in HOSTS:
        text = text.replace(host, stack.url)
    for key in KEYS:
        text = text.replace(key, stack.key)
    return text


def _picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "navy").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_the_python_example_of_aiml_prints_what_its_document_shows(stack: LiveStack, tmp_path: Path) -> None:
    answer = json.loads(_printed("aiml_python", stack, tmp_path))
    assert {"created", "data", "meta"} <= answer.keys()
    (entry,) = answer["data"]
    assert entry.keys() == {"url"}
    assert stack.client.get(entry["url"]).headers["content-type"] == "image/png"
    assert answer["meta"] == {"usage": {"credits_used": 78_000, "usd_spent": 0.039}}


def test_the_javascript_example_of_aiml_prints_what_its_document_shows(
    stack: LiveStack, tmp_path: Path
) -> None:
    printed = _printed("aiml_javascript", stack, tmp_path)
    assert printed.startswith("Generation: {")
    assert re.search(r"\burl: +'http", printed)
    assert re.search(r"credits_used: 78000,\s+usd_spent: 0\.039 ", printed)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_of_omixa_gets_what_its_document_shows(
    language: str, stack: LiveStack, tmp_path: Path
) -> None:
    printed = _printed(f"omixa_{language}", stack, tmp_path)
    answer: dict[str, Any] = ast.literal_eval(printed) if language == "python" else json.loads(printed)
    _check_edit(answer)


@pytest.mark.parametrize("language", REQUESTS)
def test_the_request_of_an_omixa_example_in_another_language_gets_the_same(
    language: str, stack: LiveStack
) -> None:
    text, (place, headers) = _text(f"omixa_{language}", stack), REQUESTS[language]
    found = re.search(place, text, re.DOTALL)
    (url,) = re.findall(r"http://[^'\"]+/images/generations", text)
    assert found
    assert stack.key in text
    body = found[1].replace('""', '"')  # as C# writes a quote in its text; JSON has no empty one here
    sent = headers | {"Authorization": f"Bearer {stack.key}"}
    answer = httpx.post(url, content=body, headers=sent, timeout=120, trust_env=False)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    _check_edit(answer.json())


def _check_edit(answer: dict[str, Any]) -> None:
    """It is what the document of Omixa shows."""
    assert answer.keys() == {"created", "data", "usage"}
    (entry,) = answer["data"]
    assert (entry.keys(), entry["url"]) == ({"b64_json", "url"}, None)
    with Image.open(io.BytesIO(base64.b64decode(entry["b64_json"]))) as image:
        assert (image.format, image.size) == ("PNG", (1024, 1024))
    assert answer["usage"] == {"billed_amount": "0.039000"}
