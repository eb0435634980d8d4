"""The built wheel in an environment of its own, beside another distribution, with no file of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.checkout import ROOT, text

pytestmark = pytest.mark.long

NEIGHBOUR = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "neighbour"
version = "1"
[tool.setuptools]
py-modules = ["api"]
packages = ["cli", "worker", "migrations"]
""",
    "api.py": "OWNER = 'neighbour'\n",
    "cli/__init__.py": "",
    "cli/main.py": "OWNER = 'neighbour'\n",
    "worker/__init__.py": "OWNER = 'neighbour'\n",
    "migrations/__init__.py": "OWNER = 'neighbour'\n",
}
"""Another distribution, which has the names of our programs."""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel `imagequeue` and its neighbour's, and an empty folder to work in."""

    bin: Path
    folder: Path
    wheel: Path

    def run(self, *command: str) -> str:
        """What a program of the environment prints, without a variable of the test's."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env={"PATH": os.defpath, "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """What the wheel needs is lent by the environment of the test, by a path that leads to packages alone.

    An editable installation of the checkout is not found along that path.
    """
    base = tmp_path_factory.mktemp("wheel")
    wheels = _built(base, _copied_checkout(base / "imagequeue"), _written(base / "neighbour", NEIGHBOUR))
    environment = base / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    folder = base / "empty"
    folder.mkdir()
    result = Installed(environment / "bin", folder, next(base.glob("imagequeue-*.whl")))
    _pip("--python", str(result.bin / "python"), "install", "--no-index", "--no-deps", *map(str, wheels))
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "lent.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    return result


def _copied_checkout(folder: Path) -> Path:
    """What .dockerignore lets through, which has to be all that a build needs."""
    let_through = [line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")]
    for name in let_through:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def _written(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def _built(base: Path, *projects: Path) -> Sequence[Path]:
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    _pip("wheel", *offline, "--wheel-dir", str(base), *map(str, projects))
    return sorted(base.glob("*.whl"))


def _pip(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert not done.returncode, done.stdout + done.stderr


def test_the_wheel_puts_one_name_into_site_packages(installed: Installed) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(installed.wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"imagequeue"}


def test_the_demo_leaves_its_images_and_other_distributions_modules_as_they_are(
    installed: Installed,
) -> None:
    told = installed.run("imagequeue", "demo", "--timeout", "240")
    images = list((installed.folder / "demo").iterdir())
    assert f"{len(images)} images in demo/" in told
    assert all(image.stat().st_size > 1000 for image in images)
    owners = "import api, cli.main as cli, worker, migrations; print(*{api.OWNER, cli.OWNER, worker.OWNER})"
    assert installed.run("python", "-c", owners) == "neighbour\n"


def test_the_example_of_a_catalog_is_in_the_wheel(installed: Installed) -> None:
    assert installed.run("imagequeue", "catalog", "example") == text("catalog.toml")
