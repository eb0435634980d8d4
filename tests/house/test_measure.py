"""The numbers of `python -m tests.house.measure`: those of this checkout, and whether it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.checkout import ROOT
from tests.house.measure import Measurements, measure, table

LARGEST_FILE = 300
LONGEST_FUNCTION = 40
LEAST_NAMED = 79
"""Percent; the best of the projects that the house was measured beside has as many."""


@pytest.fixture(scope="module")
def here() -> Measurements:
    return measure(ROOT)


def test_files_and_functions_are_short(here: Measurements) -> None:
    assert max(here.file_lines) <= LARGEST_FILE
    assert max(here.function_lines) <= LONGEST_FUNCTION


def test_no_imports_lead_back(here: Measurements) -> None:
    assert not here.in_cycles


def test_test_files_say_which_file_they_test(here: Measurements) -> None:
    assert here.share(here.named) >= LEAST_NAMED, sorted(map(str, {*here.tests} - {*here.named}))


def test_it_counts(tmp_path: Path) -> None:
    one = (
        "from shop.two import price\n\ndef buy(a):\n    return [x for x in a if x and price] if a else None\n"
    )
    _write(tmp_path / "shop" / "one.py", one)
    _write(tmp_path / "shop" / "two.py", "import shop.one\n\nprice = 1\n")
    _write(tmp_path / "shop" / "three.py", "from shop.one import buy\n")
    for test in ("shop/test_one.py", "crash/test_two.py", "crash/test_all.py"):
        _write(tmp_path / "tests" / test, "")
    found = measure(tmp_path, ["shop"], [])
    assert sorted(found.file_lines) == [1, 3, 4]
    assert (found.function_lines, found.branches) == ([2], [5])
    assert sorted(path.name for path in found.in_cycles) == ["one.py", "two.py"]
    assert [path.name for path in found.named] == ["test_two.py", "test_one.py"]
    assert [path.name for path in found.mirrored] == ["test_one.py"]
    assert "| 67 % |" in table(found)
    assert "| shop 3 |" in table(found)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
