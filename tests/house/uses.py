"""What the program names, and what it defines: the two sides that `test_dead_names.py` compares.

Names at the top of a module are followed through imports. Members are found by name alone, because a method
is called through a Protocol. A field of a dataclass only counts as read where its class is known, by an
import or an import of an import; a private member only in its own file. What a definition says about itself
is no use.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.house.program import Function, Module, modules, named, resolve

_FULL_NAME = re.compile(r"\w+(?:\.\w+)*:\w+")
"""Where uvicorn and entry points find something: `module:name`."""


class Defined(NamedTuple):
    """A name that the program defines; `owner` is the class that it is a member of, if any."""

    module: Module
    owner: ast.ClassDef | None
    name: str
    node: ast.AST

    @property
    def known_as(self) -> str:
        """The name without its module: `Class.member`, or the name alone."""
        return f"{self.owner.name}.{self.name}" if self.owner else self.name

    @property
    def is_field(self) -> bool:
        """Whether it is a field of a dataclass or of a NamedTuple."""
        return isinstance(self.node, ast.AnnAssign) and self.owner is not None and _is_data(self.owner)


@cache
def definitions() -> tuple[Defined, ...]:
    """Everything with a name of its own: at the top of a module, in a class, or set on `self`."""
    return tuple(defined for module in modules().values() for defined in _defined_in(module))


def _defined_in(module: Module) -> Iterator[Defined]:
    for node in module.tree.body:
        yield from (Defined(module, None, name, node) for name in named(node))
    for owner in module.nodes:
        if isinstance(owner, ast.ClassDef):
            yield from _members(module, owner)


def _members(module: Module, owner: ast.ClassDef) -> Iterator[Defined]:
    found: dict[str, ast.AST] = {name: node for node in owner.body for name in named(node)}
    for node in ast.walk(owner):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=attr, ctx=ast.Store()):
                found.setdefault(attr, node)
            case _:
                pass
    return (Defined(module, owner, name, node) for name, node in found.items())


def is_used(defined: Defined) -> bool:
    """Whether the program names it anywhere but in its own definition."""
    if defined.owner is None:
        return f"{defined.module.name}.{defined.name}" in _full_names()
    readers = _readers()[defined.name]
    if defined.name.startswith("_"):
        return defined.module.name in readers
    return any(not defined.is_field or defined.module.name in _known_to(reader) for reader in readers)


@cache
def _full_names() -> frozenset[str]:
    return frozenset(
        name
        for module in modules().values()
        for statement in module.tree.body
        for name in _named_in(module, statement) - {f"{module.name}.{own}" for own in named(statement)}
    )


def _named_in(module: Module, statement: ast.stmt) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(statement):
        match node:
            case ast.Name(ctx=ast.Load()) | ast.Attribute():
                found.add(module.stands_for(node))
            case ast.Constant(value=str(value)) if _FULL_NAME.fullmatch(value):
                found.add(resolve(value.replace(":", ".")))
            case _:
                pass
    return found


@cache
def _readers() -> dict[str, set[str]]:
    """For each name that is read of some object, the modules that read it."""
    readers: dict[str, set[str]] = defaultdict(set)
    for module in modules().values():
        for name in _read_in(module.tree, frozenset()):
            readers[name].add(module.name)
    return readers


def _read_in(node: ast.AST, inside: frozenset[str], *, in_class: bool = False) -> Iterator[str]:
    """Names of members that are read below `node`; `inside`, the functions around it, do not read themselves.

    Right in a class, members are read as plain names.
    """
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            inside, in_class = inside | {name}, False
        case ast.ClassDef():
            in_class = True
        case ast.Attribute(attr=name, ctx=ast.Load()) if name not in inside:
            yield name
        case ast.Name(id=name, ctx=ast.Load()) if in_class:
            yield name
        case ast.MatchClass(kwd_attrs=names):
            yield from names
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from _read_in(child, inside, in_class=in_class)


@cache
def _known_to(name: str) -> frozenset[str]:
    """The modules that a module imports, directly or through others, and itself."""
    known, new = {name}, {name}
    while new:
        new = {imported for one in new for imported in _imported(one)} - known
        known |= new
    return frozenset(known)


@cache
def _imported(name: str) -> frozenset[str]:
    full = set(modules()[name].imports.values())
    homes = {resolve(one).rpartition(".")[0] for one in full} | {one.rpartition(".")[0] for one in full}
    return frozenset((full | homes) & modules().keys())


def _is_data(owner: ast.ClassDef) -> bool:
    made_by = " ".join(map(ast.unparse, [*owner.decorator_list, *owner.bases]))
    return "dataclass" in made_by or "NamedTuple" in made_by


class Parameter(NamedTuple):
    """A parameter with a default; `position` counts from 0 without `self`, None when it has to be named."""

    defined: Defined
    function: Function
    name: str
    position: int | None


def parameters() -> Iterator[Parameter]:
    """The parameters with a default of functions and methods."""
    for defined in definitions():
        if isinstance(defined.node, Function):
            yield from _defaults(defined, defined.node)


def _defaults(defined: Defined, function: Function) -> Iterator[Parameter]:
    static = any("staticmethod" in ast.unparse(decorator) for decorator in function.decorator_list)
    bound = int(defined.owner is not None and not static)
    plain = [*function.args.posonlyargs, *function.args.args]
    first = len(plain) - len(function.args.defaults)
    for position, parameter in enumerate(plain[first:], start=first - bound):
        yield Parameter(defined, function, parameter.arg, position)
    for parameter, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if default is not None:
            yield Parameter(defined, function, parameter.arg, None)
