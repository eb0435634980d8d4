"""How easy it is to find one's way in a checkout: `python -m tests.house.measure [REPO [FOLDER ...]]`.

Prints a Markdown table for the source folders of a checkout, by default those of this project's product; with
folders, any other Python project can be set beside it. Only the text of the files is read.

A function's lines are those from its `def` to its end. Its branches are counted from 1: each `if`, loop,
`except`, `assert`, `case`, comprehension and condition of one, and each `and` or `or`, adds one; nested
functions count for themselves. A file is in an import cycle when its imports lead back to it.

A test file says which file it tests when it is `test_X.py` and X.py is a file of the program. The stricter
count asks that X.py also stands where the test does: `tests/egress/test_client.py` for `egress/client.py`, or
for that path inside a package. By it 47 % of the files were named so when the house was first measured. Tests
of crashes, of the house and of whole installations have no such folder, so it cannot pass some 80 %.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.house.program import Function

PRODUCT: Final = ("api", "worker", "cli", "imagequeue")
BESIDE: Final = ("simulator", "chaos", "bench")
"""Folders with programs that stand beside the product, and have tests too."""

MOST_BRANCHES: Final = 10
LARGEST_SHOWN: Final = 3

_ONE_BRANCH: Final = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.Assert,
    ast.match_case,
)
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the product: its path in the checkout, how many lines it has, and what they say."""

    path: Path
    lines: int
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured; `function_lines` and `branches` have one number for each function."""

    file_lines: list[int]
    function_lines: list[int]
    branches: list[int]
    in_cycles: list[Path]
    tests: list[Path]
    named: list[Path]
    mirrored: list[Path]
    folders: list[tuple[Path, int]]

    def share(self, tests: Sequence[Path]) -> float:
        """How many of a hundred test files are among `tests`; 0 when there are none."""
        return 100 * len(tests) / len(self.tests) if self.tests else 0.0


def measure(root: Path, product: Sequence[str] = PRODUCT, beside: Sequence[str] = BESIDE) -> Measurements:
    """Measure the folders `product`; tests may also be named after files of the folders `beside`."""
    sources = list(_sources(root, product))
    functions = [node for source in sources for node in ast.walk(source.tree) if isinstance(node, Function)]
    tests = sorted(path.relative_to(root) for path in (root / "tests").rglob("test_*.py"))
    program = [source.path for source in sources] + [path for path, _ in _files(root, beside)]
    return Measurements(
        file_lines=[source.lines for source in sources],
        function_lines=[(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions],
        branches=[_branches(node) for node in functions],
        in_cycles=_in_cycles(sources),
        tests=tests,
        named=[test for test in tests if any(path.name == _tested(test) for path in program)],
        mirrored=[test for test in tests if any(_mirrors(test, source.path) for source in sources)],
        folders=Counter(source.path.parent for source in sources).most_common(LARGEST_SHOWN),
    )


def _sources(root: Path, folders: Iterable[str]) -> Iterator[Source]:
    for path, content in _files(root, folders):
        if content.strip():
            yield Source(path, content.count("\n"), ast.parse(content))


def _files(root: Path, folders: Iterable[str]) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root), path.read_text(encoding="utf-8")


def _tested(test: Path) -> str:
    return test.name.removeprefix("test_")


def _mirrors(test: Path, path: Path) -> bool:
    """Whether the test stands below `tests/` where the path stands in the checkout, or in a package of it."""
    return (*test.parts[1:-1], _tested(test)) in {path.parts, path.parts[1:]}


def _branches(function: Function) -> int:
    return 1 + sum(_adds(node) for node in _inside(function))


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPES):
            yield child
            yield from _inside(child)


def _adds(node: ast.AST) -> int:
    match node:
        case ast.comprehension(ifs=conditions):
            return 1 + len(conditions)
        case ast.BoolOp(values=values):
            return len(values) - 1
        case _:
            return int(isinstance(node, _ONE_BRANCH))


def _in_cycles(sources: Sequence[Source]) -> list[Path]:
    """The files from which imports lead back to them."""
    names = {_module(source.path): source for source in sources}
    imports = {name: set(_imports(source.tree, names.keys())) - {name} for name, source in names.items()}
    return [source.path for name, source in names.items() if name in _reached(name, imports)]


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module, known: Iterable[str]) -> Iterator[str]:
    known = frozenset(known)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names, level=0):
                full = (f"{module}.{one.name}" for one in names)
                yield from (one if one in known else module for one in full if {one, module} & known)
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name in known)
            case _:
                pass


def _reached(start: str, imports: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    new = set(imports[start])
    while new:
        reached |= new
        new = {further for one in new for further in imports.get(one, ())} - reached
    return reached


def table(found: Measurements) -> str:
    """The measurements as a Markdown table."""
    rows = {
        "files / lines": f"{len(found.file_lines)} / {sum(found.file_lines):,}",
        "file lines, median / p90 / max": _spread(found.file_lines),
        "function lines, median / p90 / max": _spread(found.function_lines),
        f"functions with over {MOST_BRANCHES} branches": _share_of_complex(found.branches),
        "files in import cycles": str(len(found.in_cycles) or "none"),
        "test files named after the file that they test": f"{found.share(found.named):.0f} %",
        "those that stand where it does": f"{found.share(found.mirrored):.0f} %",
        "largest folders, files": ", ".join(f"{folder} {count}" for folder, count in found.folders),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _spread(numbers: Sequence[int]) -> str:
    ordered = sorted(numbers)
    ninetieth = ordered[round(0.9 * (len(ordered) - 1))]
    return f"{median(ordered):.0f} / {ninetieth} / {ordered[-1]:,}"


def _share_of_complex(branches: Sequence[int]) -> str:
    complex_ones = sum(count > MOST_BRANCHES for count in branches)
    return f"{100 * complex_ones / len(branches):.1f} %"


def main(arguments: Sequence[str]) -> None:
    """Print the table for the checkout, and the folders of it, that the command line names."""
    root = Path(arguments[0] if arguments else ".").resolve()
    found = measure(root, arguments[1:], ()) if arguments[1:] else measure(root)
    print(table(found))  # noqa: T201  # it is what the program is for


if __name__ == "__main__":
    main(sys.argv[1:])
