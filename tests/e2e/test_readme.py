"""README.md's examples, run against a stack: address, key and the place of the program are its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.live import ROOT, LiveStack
from tests.e2e.test_examples import node, require
from tests.house.readme import block

pytestmark = pytest.mark.long

README_URL = "http://127.0.0.1:8000"


def _run(stack: LiveStack, *command: str, given: str | None = None) -> str:
    variables = {"IMAGEQUEUE_KEY": stack.key, "IMAGEQUEUE_URL": stack.url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        input=given,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _shell(stack: LiveStack, script: str) -> str:
    """A block as it stands, with this stack's address, data folder and program."""
    program = f'"{sys.executable}" -m cli'
    script = script.replace(README_URL, stack.url).replace(
        "imagequeue env", f"imagequeue env --data-dir {stack.directory}"
    )
    return _run(stack, "bash", "-euc", script.replace(".venv/bin/imagequeue", program))


def test_the_curl_example_queues_a_job(stack: LiveStack) -> None:
    require("curl")
    answer = _shell(stack, block("sh", "Ocp-Apim"))
    assert re.search(r'"status": "QUEUED"', answer), answer
    assert set(re.findall(r'"(\w+)":', answer)) == set(re.findall(r'"(\w+)":', block("json", "QUEUED")))


def test_the_example_with_the_openai_package_prints_the_image(stack: LiveStack) -> None:
    script = block("python", "from openai").replace(README_URL, stack.url)
    printed = _run(stack, sys.executable, "-", given=script)
    assert re.fullmatch(r"\d{4,} characters of base64\n", printed), printed


def test_the_example_of_aiml_gets_a_url(stack: LiveStack) -> None:
    require("curl")
    answer = json.loads(_shell(stack, block("sh", ":8000/v1/images/generations")))
    assert [entry.keys() for entry in answer["data"]] == [{"url"}]


def test_the_example_of_omixa_gets_an_image(stack: LiveStack) -> None:
    require("curl")
    answer = json.loads(_shell(stack, block("sh", "/api/v1/images/generations")))
    assert len(answer["data"][0]["b64_json"]) > 1000


def test_the_example_of_foundry_gets_an_image(stack: LiveStack) -> None:
    require("curl")
    answer = json.loads(_shell(stack, block("sh", "/mai/v1/images/generations")))
    assert len(answer["data"][0]["b64_json"]) > 1000


def test_the_example_of_openrouter_streams_an_image(stack: LiveStack) -> None:
    require("curl")
    answer = _shell(stack, block("sh", "/api/v1/chat/completions"))
    assert answer.count("data:image/png;base64,") == 1
    assert answer.endswith("data: [DONE]\n\n")


def test_the_python_example_prints_the_images(stack: LiveStack) -> None:
    script = block("python", "httpx.Client").replace(README_URL, stack.url)
    assert _run(stack, sys.executable, "-", given=script).startswith("COMPLETED None {'media_url': ['http")


def test_the_javascript_example_prints_the_images(stack: LiveStack, tmp_path: Path) -> None:
    require(node())
    module = tmp_path / "example.mjs"
    module.write_text(block("javascript", "fetch").replace(README_URL, stack.url))
    printed = _run(stack, node(), str(module))
    assert printed.startswith("COMPLETED null {")
    assert "media_url" in printed


def test_the_shell_example_downloads_the_image(stack: LiveStack, tmp_path: Path) -> None:
    script = block("sh", "imagequeue submit").replace("--out images", f"--out '{tmp_path}'")
    assert "COMPLETED" in _shell(stack, script)
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]


def test_the_examples_of_accounts_work_on_the_running_stack(stack: LiveStack) -> None:
    printed = _shell(stack, block("sh", "keys list"))
    assert "webhook secret" in printed
    assert re.search(r"available\D+35\b", printed), printed
