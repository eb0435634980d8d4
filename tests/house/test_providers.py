"""A provider is one file and one folder of recordings (docs/adding-a-provider.md): nothing else knows it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagequeue.providers.registry import PROVIDERS
from tests.house.checkout import ROOT, imported, text, tracked

PACKAGE = "imagequeue.providers.adapters"
PROGRAM = [path for path in tracked("*.py") if path.parts[0] != "tests"]
CATALOG = """
[[models]]
id = "gpt-image-2"
price_usd = "0.05"

[[deployments]]
name = "seventh"
model = "gpt-image-2"
provider = "seventh"
upstream_model = "gpt-image-2"
endpoint = "https://api.openai.com"
key_env = "SEVENTH_KEY"
rpm = 50
"""


def _adapters_imported(path: Path) -> list[str]:
    adapters = tuple(f"{PACKAGE}.{name}" for name in PROVIDERS)
    return [name for name in imported(path) if name.startswith(tuple(f"{one}." for one in adapters))] + [
        name for name in imported(path) if name in adapters
    ]


def test_no_file_imports_an_adapter() -> None:
    """Not even another adapter: the registry alone finds them, and it needs no name."""
    assert len(PROVIDERS) >= 6
    assert not {str(path): found for path in PROGRAM if (found := _adapters_imported(path))}


def test_every_module_with_a_provider_is_known_by_its_name() -> None:
    say = {
        path.stem for path in PROGRAM if path.parent == Path("imagequeue/providers/adapters") and _says(path)
    }
    assert list(PROVIDERS) == sorted(say)


def _says(path: Path) -> bool:
    names = [
        ast.unparse(node.target)
        for node in ast.parse(text(str(path))).body
        if isinstance(node, ast.AnnAssign)
    ]
    return "PROVIDER" in names


class Copy:
    """A checkout of its own, to add a provider to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in tracked("*.py", "*.json", "*.toml", "*.lua"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
        (folder / "seventh.toml").write_text(CATALOG)

    def run(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={"SEVENTH_KEY": "k", "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def suite(self) -> tuple[int, str]:
        files = ("tests/providers/test_builds.py", "tests/providers/test_conformance.py")
        return self.run("pytest", *files, "-q", "-k", "seventh", "-p", "no:cacheprovider")


@pytest.mark.long
def test_a_seventh_provider_is_one_file_one_folder_and_one_entry(tmp_path: Path) -> None:
    """The plain OpenAI one under another name: what may be called as it pleases is named nowhere else."""
    copy = Copy(tmp_path)
    code, told = copy.run("cli", "catalog", "check", "seventh.toml")
    assert code == 1
    assert "deployments 'seventh': provider: there is no provider 'seventh'" in told

    adapters = copy.folder / "imagequeue/providers/adapters"
    (adapters / "seventh.py").write_text((adapters / "openai.py").read_text())
    code, told = copy.run("cli", "catalog", "check", "seventh.toml")
    assert (code, "1 deployments" in told) == (0, True), told
    code, told = copy.suite()
    assert code != 0, "an adapter without recordings must not pass"

    recordings = copy.folder / "tests/recordings"
    shutil.copytree(recordings / "openai", recordings / "seventh")
    code, told = copy.suite()
    assert code == 0, told
    assert int(told.rpartition(" passed")[0].split()[-1]) > 50
