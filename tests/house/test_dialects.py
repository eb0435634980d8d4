"""A dialect is one file and one folder of examples (docs/adding-a-dialect.md): nothing else knows it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL

from imagequeue.dialects.registry import DIALECTS
from tests.house.checkout import ROOT, imported, text, tracked

PACKAGE = "imagequeue.dialects.adapters"
ADAPTERS = [path for path in tracked("*.py") if path.parent == Path(PACKAGE.replace(".", "/"))]
PROGRAM = [path for path in tracked("*.py") if path.parts[0] != "tests"]


def test_no_file_imports_a_dialect() -> None:
    """Not even another dialect: the registry alone finds them, and it needs no name."""
    assert list(DIALECTS)
    found = {
        str(path): [name for name in imported(path) if name.startswith(f"{PACKAGE}.")] for path in PROGRAM
    }
    assert not {path: names for path, names in found.items() if names}


def test_every_module_with_a_dialect_is_found() -> None:
    say = [path.stem for path in ADAPTERS if _says(path)]
    assert sorted(dialect.name for dialect in DIALECTS) == sorted(say)


def _says(path: Path) -> bool:
    names = [
        ast.unparse(node.target)
        for node in ast.parse(text(str(path))).body
        if isinstance(node, ast.AnnAssign)
    ]
    return "DIALECT" in names


class DialectCopy:
    """A checkout of its own, to add a dialect to; its tests use the databases of this run's server."""

    def __init__(self, folder: Path, postgres: URL) -> None:
        self.folder = folder
        self._postgres = postgres.set(drivername="postgresql").render_as_string(hide_password=False)
        for path in tracked("*.py", "*.json", "*.toml", "*.lua", "*.mako", "*.ini"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)

    def suite(self, *tests: str) -> tuple[int, str]:
        words = ["pytest", *tests, "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(self.folder),
                "IMAGEQUEUE_TEST_DATABASE_URL": self._postgres,
            },
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


CONFORMANCE = (
    "tests/dialects/test_conformance.py",
    "tests/dialects/test_field_conformance.py",
    "-k",
    "second",
)
SERVED = (
    "tests/api/test_submit.py::test_a_job_is_accepted_and_asked_for_in_the_dialects_words",
    "tests/api/test_submit.py::test_a_form_with_a_file_is_an_edit_of_it",
    "tests/api/test_errors.py::test_below_its_prefix_every_error_is_told_in_its_envelope",
    "tests/api/test_job_answers.py::test_a_submit_that_waits_is_answered_with_the_final_job",
    "tests/api/test_dialect_routes.py::test_no_route_hides_another",
)


@pytest.mark.long
def test_a_second_dialect_is_one_file_and_one_folder(tmp_path: Path, postgres_url: URL) -> None:
    """It serves JSON, forms and waits, and tells errors below its prefix in its own envelope."""
    copy = DialectCopy(tmp_path, postgres_url)
    tests, adapters = copy.folder / "tests/dialects", copy.folder / "imagequeue/dialects/adapters"
    shutil.copyfile(tests / "second.py", adapters / "second.py")
    code, told = copy.suite(*CONFORMANCE)
    assert code != 0, "a dialect without examples must not pass"

    shutil.copytree(tests / "second_examples", tests / "examples/second")
    code, told = copy.suite(*CONFORMANCE)
    assert (code, int(told.rpartition(" passed")[0].split()[-1]) > 30) == (0, True), told

    (tests / "with_second.py").write_text(
        "from imagequeue.dialects.registry import DIALECTS as WITH_SECOND\n"
        "assert 'second' in {dialect.name for dialect in WITH_SECOND}\n"
    )
    code, told = copy.suite(*SERVED)
    assert (code, " 6 passed" in f" {told.splitlines()[-1]}") == (0, True), told
