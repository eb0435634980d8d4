"""README.md and the other documents: what they say to type exists, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from cli.main import COMMANDS
from imagequeue.domain.ids import new_id
from imagequeue.signing import new_webhook_secret, sign
from imagequeue.store.migration import MIGRATIONS
from tests.house.checkout import ROOT, text, tracked, understood
from tests.house.readme import block, blocks

COMMAND_LINES = [
    line for found in blocks("sh") for line in found.replace("\\\n", " ").splitlines() if line.strip()
]
DOCUMENTS = [str(path) for path in tracked("*.md")]
TARGETS = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_line_of_the_readme_can_be_typed(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "eval":
        words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
    assert REFUSALS[words[0]](words[1:]) is None


def _refuse_copy(words: list[str]) -> str | None:
    return None if (ROOT / words[0]).exists() else f"no {words[0]}"


def _refuse_export(words: list[str]) -> str | None:
    return None if re.match(r"[A-Z_]+=.", words[0]) else "sets nothing"


def _refuse_curl(words: list[str]) -> str | None:
    return None if any("$IMAGEQUEUE_KEY" in word for word in words) else "sends no key"


def _refuse_target(words: list[str]) -> str | None:
    return None if words[0] in TARGETS else f"no target {words[0]}"


def _refuse_compose(words: list[str]) -> str | None:
    assert words[0] == "compose"
    if words[1] != "run":
        return None if words[1] == "up" else f"unknown here: {words[1]}"
    service, *rest = words[3:]
    known = yaml.safe_load(text("docker-compose.yml"))["services"]
    return understood(rest) if service in known else f"no service {service}"


def _refuse_installed(words: list[str]) -> str | None:
    """Of a line that installs the checkout and starts it: a command follows the console script's name."""
    assert "." in words
    at = next(at for at, word in enumerate(words) if Path(word).name == "imagequeue")
    return understood(words[at + 1 :])


REFUSALS: dict[str, Callable[[list[str]], str | None]] = {
    ".venv/bin/imagequeue": understood,
    "cp": _refuse_copy,
    "curl": _refuse_curl,
    "docker": _refuse_compose,
    "export": _refuse_export,
    "make": _refuse_target,
    "pipx": _refuse_installed,
    "python3": _refuse_installed,
    "uvx": _refuse_installed,
}
"""Why a line cannot be typed, by its first word."""


@pytest.mark.parametrize("found", blocks("python"))
def test_the_python_examples_are_python(found: str) -> None:
    assert ast.parse(found).body


def test_the_example_of_a_receiver_verifies_our_signatures() -> None:
    scope: dict[str, object] = {}
    exec(compile(block("python", "standardwebhooks"), "README.md", "exec"), scope)  # noqa: S102  # our own text
    received = scope["received"]
    assert callable(received)
    secret, body = new_webhook_secret(), '{"status":"COMPLETED"}'
    headers = sign(f"msg_{new_id()}", datetime.now(UTC), body.encode(), [secret])
    assert received(body, headers, secret) == {"status": "COMPLETED"}
    with pytest.raises(Exception, match="signature"):
        received(body.replace("COMPLETED", "FAILED"), headers, secret)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", text(name))
    missing = [
        link for link in links if "://" not in link and not (ROOT / name).parent.joinpath(link).exists()
    ]
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_of_the_program_that_a_page_names_are_there(name: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", text(name), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`([\w-]+(?:/[\w-]+)*/[\w-]+\.py)`", prose)
    roots = (ROOT, ROOT / "imagequeue")
    assert [path for path in named if not any((root / path).is_file() for root in roots)] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_tests_that_a_page_names_are_there(name: str) -> None:
    named = re.findall(r"\btests/[\w/]+\.py\b", text(name))
    assert not [path for path in named if not (ROOT / path).is_file()]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme_and_in_the_changelog(name: str) -> None:
    assert re.search(rf"^\| .*`{name}`.* \| .+ \|$", text("README.md"), re.MULTILINE)
    assert f"`{name}`" in text("CHANGELOG.md")


def test_the_contract_has_its_targets() -> None:
    assert {"demo", "test", "install", "up", "chaos", "bench", "check"} <= TARGETS


def test_ci_ends_with_the_tests() -> None:
    lines = [line for line in text(".ci/run").splitlines() if line.startswith("make ")]
    assert [line.split()[1] for line in lines] == ["check", "demo", "databases", "databases", "test"]
    assert "set -euo pipefail" in text(".ci/run")
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_migrations_have_dated_names_and_wait_for_no_lock_for_ever() -> None:
    revisions = list((MIGRATIONS / "versions").glob("*.py"))
    assert revisions
    assert all(re.fullmatch(r"\d{4}_\d{2}_\d{2}_\w+", path.stem) for path in revisions)
    assert "SET LOCAL lock_timeout" in text("imagequeue/store/migration.py")


def test_no_merge_has_left_its_marks() -> None:
    marks = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
    assert not [
        path for path in tracked("*.py", "*.md", "*.toml", "*.yml", "*.txt") if marks.search(text(str(path)))
    ]
