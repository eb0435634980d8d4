"""`python -m tests.crash.mutants [NAME...]`: does each crash test fail when its guard is removed?

Every mutant removes one guard from a copy of the checkout and runs the tests that are there for it. One that
survives is printed, and makes the exit code 1. Run by hand: it takes minutes and tests the tests.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.crash.mutants import MUTANTS
from tests.crash.mutants.mutant import Mutant

ROOT = Path(__file__).resolve().parents[3]


def main(names: list[str]) -> int:
    """Try the mutants whose names contain one of `names`, or all."""
    survivors = list[str]()
    for mutant in MUTANTS:
        if names and not any(name in mutant.name for name in names):
            continue
        passed = _passed(mutant)
        survivors += [f"{mutant.name}: {test}" for test in passed]
        sys.stdout.write(
            f"{'SURVIVED' if passed else 'killed  '}  {mutant.name} ({len(mutant.tests)} tests)\n"
        )
        sys.stdout.flush()
    for survivor in survivors:
        sys.stdout.write(f"not noticed: {survivor}\n")
    return int(bool(survivors))


def _passed(mutant: Mutant) -> list[str]:
    """The tests that do not notice that the guard is gone."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "demo"))
        for file, before, after in mutant.edits:
            _replace(copy / file, before, after)
        return [test for test in mutant.tests if _passes(copy, test)]


def _replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    if text.count(before) != 1:
        raise SystemExit(f"{path.name} has changed: {before!r} stands there {text.count(before)} times")
    path.write_text(text.replace(before, after))


def _passes(copy: Path, test: str) -> bool:
    file, _, name = test.partition("::")
    chosen = ["-k", _expression(name)] if name.endswith("*") else []
    target = file if chosen or not name else f"{file}::{name}"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", target, *chosen]
    ended = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=300)
    if ended.returncode not in (0, 1):
        raise SystemExit(f"{test}: {ended.stdout[-2000:]}{ended.stderr[-500:]}")
    return ended.returncode == 0


def _expression(name: str) -> str:
    return " and ".join(name.rstrip("*").replace("[", " ").split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
