"""No test gives up on a busy machine: what it waits for may take two minutes there.

A wait that is to end without what it waits for (`assert not event.wait(0.1)`) may be short.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
WAITS = {"wait", "join", "acquire", "result", "communicate", "wait_for", "wait_procs"}
"""Calls whose last positional number, or `timeout`, bounds a wait."""
LEAST_SECONDS = 60
SHORTEST_SECONDS = 3
"""A shorter one is meant to pass, or is a pause between two looks."""


def short_waits(path: Path) -> Iterator[str]:
    """Where a file waits for less than a minute for what should come."""
    tree = ast.parse(path.read_text("utf-8"))
    expected_in_vain = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in expected_in_vain:
            for seconds in _bounds(node):
                if SHORTEST_SECONDS <= seconds < LEAST_SECONDS:
                    yield f"{path.name}:{node.lineno}: {seconds} s"


def _bounds(call: ast.Call) -> Iterator[float]:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"]
    if name in WAITS:
        given += call.args[-1:]
    if name == "to_thread" and getattr(call.args[0], "attr", "") in WAITS:
        given += call.args[1:]
    for value in given:
        if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
            yield value.value


@pytest.mark.parametrize(
    "line", ["event.wait(10)", "thread.join(timeout=20)", "assert done.wait(5.0)", "to_thread(e.wait, 10)"]
)
def test_a_short_wait_is_found(tmp_path: Path, line: str) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(line)
    assert len(list(short_waits(file))) == 1


@pytest.mark.parametrize("line", ["event.wait(120)", "assert not event.wait(10)", "pause.wait(0.1)"])
def test_a_patient_wait_is_none(tmp_path: Path, line: str) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(line)
    assert not list(short_waits(file))


def test_no_test_gives_up_on_a_busy_machine() -> None:
    assert not [line for path in sorted(TESTS.rglob("*.py")) for line in short_waits(path)]
