"""The program's modules as syntax trees, and which module says what a name of another one stands for.

The house tests read the program with it. It walks the checkout, so a file that moves needs no edit here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.house.checkout import text, tracked

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef | ast.Assign | ast.AnnAssign

_LONGEST_CHAIN = 8
"""Names that lead on to other names, in one line of re-exports; more would be a circle."""


@dataclass(frozen=True, slots=True)
class Module:
    """A file: `name` as it is imported, `imports` from each local name to the full name behind it.

    `nodes` are all of the tree's, walked once for all tests.
    """

    name: str
    path: Path
    tree: ast.Module
    nodes: tuple[ast.AST, ...]
    imports: dict[str, str]

    def stands_for(self, node: ast.expr) -> str:
        """The full name of `Name`, `Name.attribute` or `Name[...]`; empty for anything else."""
        match node:
            case ast.Name(id=name):
                return resolve(self.imports.get(name, f"{self.name}.{name}"))
            case ast.Attribute(value=value, attr=attr):
                before = self.stands_for(value)
                return resolve(f"{before}.{attr}") if before else ""
            case ast.Subscript(value=value):
                return self.stands_for(value)
            case _:
                return ""


@cache
def modules(folder: str = "") -> dict[str, Module]:
    """Every module of the program, or of one of its folders (`imagequeue/domain/`), by its name."""
    if folder:
        within = (module for module in modules().values() if module.path.as_posix().startswith(folder))
        return {module.name: module for module in within}
    paths = (path for path in tracked("*.py") if path.parts[0] != "tests")
    return {module.name: module for module in (read(path, text(str(path))) for path in paths)}


def read(path: Path, content: str) -> Module:
    """The module that `content` would be as the file `path` of the checkout."""
    tree = ast.parse(content)
    nodes = tuple(ast.walk(tree))
    parts = path.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, tree, nodes, dict(_imports(nodes)))


def resolve(name: str) -> str:
    """Follow re-exports, until the module that defines `name`."""
    for _ in range(_LONGEST_CHAIN):
        module, _, attribute = name.rpartition(".")
        known = modules().get(module)
        if known is None or attribute not in known.imports:
            break
        name = known.imports[attribute]
    return name


def named(node: ast.AST) -> Iterator[str]:
    """The names that a statement defines where it stands."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            yield from (name for target in targets for name in _stored(target))
        case _:
            pass


def public_classes(folder: str) -> dict[str, list[Module]]:
    """The public classes of `folder` by their names, each with the modules that define one."""
    found: dict[str, list[Module]] = {}
    for module in modules(folder).values():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    return found


def _stored(target: ast.expr) -> Iterator[str]:
    for node in ast.walk(target):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case _:
                pass


def _imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        match node:
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from ((one.asname or one.name, f"{module}.{one.name}") for one in names)
            case ast.Import(names=names):
                yield from ((one.asname, one.name) for one in names if one.asname)
                yield from (
                    (top, top) for one in names if not one.asname for top in [one.name.partition(".")[0]]
                )
            case _:
                pass
