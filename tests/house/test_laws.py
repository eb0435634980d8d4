"""The laws of CONTRIBUTING.md that a test can see in the text of the code."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.crash.mutants import MUTANTS
from tests.crash.mutants.mutant import Mutant
from tests.house.checkout import ROOT, text, tracked

LONGEST_FILE = 300
LONGEST_FUNCTION = 40
SCHEMA = "migrations/versions"
"""A migration that makes a whole schema is as long as the schema."""

PYTHON = [path for path in tracked("*.py") if not path.as_posix().startswith(SCHEMA)]
PROGRAM = [path for path in PYTHON if path.parts[0] != "tests"]
TESTS = [path for path in PYTHON if path.name.startswith("test_")]
FORBIDDEN_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, its docstring and the function's signature left out: options are not logic."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_there_is_something_to_look_at() -> None:
    assert len(PROGRAM) > 100


@pytest.mark.parametrize("path", PROGRAM, ids=str)
def test_no_file_of_the_program_is_long(path: Path) -> None:
    assert len(text(str(path)).splitlines()) <= LONGEST_FILE


def test_no_file_of_tests_is_long() -> None:
    assert not [str(path) for path in TESTS if len(text(str(path)).splitlines()) > LONGEST_FILE]


@pytest.mark.parametrize("path", PROGRAM, ids=str)
def test_no_function_of_the_program_is_long(path: Path) -> None:
    long = [function.name for function in _functions(path) if _body_lines(function) > LONGEST_FUNCTION]
    assert not long


def test_names_say_something() -> None:
    parts = {(part.removesuffix(".py"), path) for path in PYTHON for part in path.parts}
    assert not [path for name, path in parts if FORBIDDEN_NAMES & set(name.split("_"))]


def test_the_store_never_commits() -> None:
    calls = [
        f"{path}:{node.lineno} {node.func.attr}"
        for path in PROGRAM
        if path.as_posix().startswith("imagequeue/store/")
        for node in ast.walk(ast.parse(text(str(path))))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"commit", "rollback", "begin", "begin_nested"}
    ]
    assert Counter(call.partition(":")[0] for call in calls) == {
        "imagequeue/store/database.py": 2,  # opens what verbs use for one statement
        "imagequeue/store/migration.py": 1,  # a transaction of its own
    }, "verbs commit, the store does not"


def test_no_mock_is_patched_in_by_import_path() -> None:
    patched = re.compile(r"mock\.patch\b|monkeypatch\.setattr\(\s*['\"]|mocker\.")
    assert not [
        path for path in PYTHON if path.name != Path(__file__).name and patched.search(text(str(path)))
    ]


def test_nothing_is_swallowed() -> None:
    swallowed = [
        f"{path}:{node.lineno}"
        for path in PROGRAM
        for node in ast.walk(ast.parse(text(str(path))))
        if isinstance(node, ast.ExceptHandler) and all(isinstance(step, ast.Pass) for step in node.body)
    ]
    assert not swallowed, "say contextlib.suppress(NamedError) and why, or handle it"


def test_no_path_of_somebodys_machine_and_no_package_index() -> None:
    """The index is that with which pip is set up; nothing that installs names one."""
    machine = re.compile(r"/(?:home|Users)/[a-z]\w+/")
    installers = [*tracked("requirements/*", "Makefile", "Dockerfile", ".ci/*", "pyproject.toml")]
    options = "index-url|extra-index-url|find-links"
    index = re.compile(rf"--(?:{options})\s|://")
    assert installers
    assert not [path for path in installers if index.search(text(str(path)))]
    assert not [
        path for path in tracked("*.py", "*.md", "*.toml", "*.yml") if machine.search(text(str(path)))
    ]


THREADS = {
    "imagequeue/loops.py": "the runner of loops",
    "imagequeue/egress/resolver.py": "one look-up of a name, which nothing can interrupt",
    "cli/stack/supervisor/inherited_lock.py": "one flock, which has no timeout",
    "cli/demo/receiver.py": "the standard library's server",
}
"""Files of the product that start a thread. The chaos run and the benchmark are its users."""

SIGNALS = {
    "imagequeue/signals.py": "for every process",
    "simulator/server.py": "the simulator imports nothing of the rest",
}
"""Files that set what a signal does."""


def _calling(*endings: str) -> set[str]:
    """The files of the program that call something whose name, as it stands there, ends so."""
    return {
        path.as_posix()
        for path in PROGRAM
        for node in ast.walk(ast.parse(text(str(path))))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(endings)
    }


def test_every_loop_is_run_by_the_one_runner() -> None:
    starting = {path for path in _calling("Thread") if not path.startswith(("chaos/", "bench/"))}
    assert starting == set(THREADS), "make it a Loop (law 4), or say here why it is none"


def test_signals_are_handled_in_one_place() -> None:
    assert _calling("signal.signal", ".add_signal_handler") == set(SIGNALS), "use imagequeue/signals.py"


def test_the_retry_table_is_one_file() -> None:
    assert _calling("RetryPolicy") == {"imagequeue/domain/backoff.py"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_finds_the_guard_that_it_removes(mutant: Mutant) -> None:
    """`python -m tests.crash.mutants` runs them; here it is seen at once that a guard has moved."""
    assert [text(file).count(before) for file, before, _ in mutant.edits] == [1] * len(mutant.edits)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_names_tests_that_are_there(mutant: Mutant) -> None:
    """A mutant whose test has moved could not be told from one that nobody notices."""
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name.rstrip('*').partition('[')[0]}" in text(file), test


def test_every_requirement_is_pinned_with_hashes() -> None:
    for name in ("requirements/run.txt", "requirements/dev.txt"):
        entries = re.split(r"\n(?=[A-Za-z])", text(name).strip())
        assert all(re.match(r"[\w.-]+(?:\[[\w, -]+\])?==\S+", entry) for entry in entries), name
        assert all("--hash=sha256:" in entry for entry in entries), name


def test_pins_name_the_extras_that_other_packages_ask_for() -> None:
    """Without them, pip before 23.3 takes `name[extra]>=1` for another, unpinned package.

    It then refuses to install as soon as a newer release of it appears: a checkout breaks by itself.
    """
    pinned = {
        canonicalize_name(found[1]): set(filter(None, re.split(r",\s*", found[2] or "")))
        for found in re.finditer(
            r"^([\w.-]+)(?:\[([\w, -]+)\])?==", text("requirements/dev.txt"), re.MULTILINE
        )
    }
    asked = [
        (asking.name, wanted)
        for asking in distributions()
        for wanted in map(Requirement, asking.requires or ())
        if wanted.extras and canonicalize_name(asking.name) in pinned and _holds(wanted, pinned, asking.name)
    ]
    assert asked
    assert not [
        f"{name} asks for {wanted}"
        for name, wanted in asked
        if not wanted.extras <= pinned[canonicalize_name(wanted.name)]
    ]


def _holds(wanted: Requirement, pinned: dict[NormalizedName, set[str]], asking: str) -> bool:
    extras = {"", *pinned[canonicalize_name(asking)]}
    return wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras)


def test_what_the_project_needs_is_what_is_pinned() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    listed = {line for line in text("requirements/run.in").splitlines() if line and not line.startswith("#")}
    assert set(project["dependencies"]) == listed - {"setuptools"}
