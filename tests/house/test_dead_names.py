"""Every name of the program has a user in the program: what tests alone use, nobody needs."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from typing import NamedTuple

from cli.main import COMMANDS
from tests.house.checkout import text, tracked
from tests.house.program import Module, modules
from tests.house.uses import Defined, Parameter, definitions, is_used, parameters

EXEMPT = {
    "EgressError.never_sent": "read by getattr: an error of another transport may lack it",
    "DIALECT": "the registry asks every module for it",
    "PROVIDER": "the registry asks every module for it",
    "Settings.failpoint": "failpoints read the environment; the field says that the variable exists",
    "OnUnknown.FAIL": "clients choose it by its value; it is what is neither of the others",
    "BATCH_EDGES": "the rule that a random walk over the states of batches is held against",
    "LineRequest.identity": "read as `ReadRequest.identity`, which is what the check of a line is given",
    "ClientRequest.query": "read by dialects whose routes take a query; Pixazo's take none",
    "__all__": "what a package shows",
}
"""Names, without their module, whose user does not name them or is still to come; and which one it is."""

SHOWN_WHOLE = {
    "DeploymentReport": "asdict makes the operators' answer of it",
    "Entry": "a line of the simulator's log has all its fields",
    "BatchChange": "`terms` makes columns of all its fields",
    "BatchView": "the API reads its times by their names",
    "NewAccount": "asdict makes a row of it",
    "NewBatch": "a row is made of all its fields",
    "NewLine": "COPY takes it as a whole",
}
"""Classes whose fields are read together, without their names."""

ADMITTED = {
    "AnswerFields": "what an answer of a dialect has, for its documentation; it is written, not read",
    "BodyFields": "what clients may send; fields without effect are taken, and named in docs/dialects.md",
    "Fields": "what clients may send to the simulator; it has to be admitted, not to be read",
}
"""Bases of such classes."""

SCHEMA = "migrations"
"""Alembic reads what a revision defines, and a revision stays as it was."""

_REGISTERED = re.compile(
    r"\.(?:get|post|put|patch|delete|command|callback|connect|exception_handler)\(|(?:field|model)_validator"
)
"""In decorators by which a framework gets to know a function."""

_HTTP_SERVER_CALLS = re.compile(r"do_[A-Z]+")


def test_no_name_of_the_program_is_dead() -> None:
    dead = [
        _where(defined) for defined in definitions() if not is_used(defined) and not _has_a_reason(defined)
    ]
    assert not dead, "nobody uses it, or tests alone do: remove it, or give it its user"


def test_no_parameter_keeps_its_default_for_ever() -> None:
    kept = [
        f"{_where(parameter.defined)}({parameter.name})"
        for parameter in parameters()
        if not _has_a_reason(parameter.defined) and not _is_command(parameter) and not _is_passed(parameter)
    ]
    assert not kept, "nobody passes it, and no test does: a constant says the same"


def test_every_exemption_is_still_needed() -> None:
    """Which also shows that a dead method, property, field and constant would be found."""
    unused = {defined.known_as for defined in definitions() if not is_used(defined)}
    assert unused >= EXEMPT.keys()
    assert {name.partition(".")[0] for name in unused} >= SHOWN_WHOLE.keys()


def _where(defined: Defined) -> str:
    line = getattr(defined.node, "lineno", 0)
    return f"{defined.module.path}:{line} {defined.known_as}"


def _has_a_reason(defined: Defined) -> bool:
    return (
        defined.module.name.startswith(SCHEMA)
        or defined.known_as in EXEMPT
        or (defined.owner is None and defined.name in EXEMPT)
        or _is_registered(defined)
        or _is_table(defined)
        or (defined.owner is not None and _belongs_to_its_class(defined, defined.owner))
    )


def _is_registered(defined: Defined) -> bool:
    decorators = [ast.unparse(one) for one in getattr(defined.node, "decorator_list", [])]
    commands = {f"{command.module}.{command.attribute}" for command in COMMANDS.values()}
    return any(map(_REGISTERED.search, decorators)) or f"{defined.module.name}.{defined.name}" in commands


def _is_table(defined: Defined) -> bool:
    """Whether the metadata know it, with which the migrations are compared; statements name it in SQL."""
    match defined.node:
        case ast.Assign(value=ast.Call(func=ast.Name(id="Table"))):
            return True
        case _:
            return False


def _belongs_to_its_class(defined: Defined, owner: ast.ClassDef) -> bool:
    """Whether Python, a base from a library, or all that is done with the class as a whole calls for it."""
    bases = _bases(defined.module, owner)
    return (
        defined.name.startswith("__")
        or (defined.is_field and owner.name in SHOWN_WHOLE)
        or (
            isinstance(defined.node, ast.AnnAssign)
            and any(base.rpartition(".")[2] in ADMITTED for base in bases)
        )
        or any(_foreign_base_has(base, defined.name) for base in bases)
    )


def _bases(module: Module, owner: ast.ClassDef) -> list[str]:
    """The full names of all bases, those of bases too."""
    found: list[str] = []
    for base in map(module.stands_for, owner.bases):
        found.append(base)
        home, _, name = base.rpartition(".")
        if home in modules():
            classes = (node for node in modules()[home].tree.body if isinstance(node, ast.ClassDef))
            found += [one for node in classes if node.name == name for one in _bases(modules()[home], node)]
    return found


def _foreign_base_has(base: str, member: str) -> bool:
    home, _, name = base.rpartition(".")
    if not home or home in modules():
        return False
    handler = name == "BaseHTTPRequestHandler" and _HTTP_SERVER_CALLS.fullmatch(member) is not None
    return handler or hasattr(getattr(import_module(home), name), member)


def _is_command(parameter: Parameter) -> bool:
    return any("typer." in ast.unparse(default) for default in parameter.function.args.defaults) or any(
        "typer." in ast.unparse(one.annotation)
        for one in parameter.function.args.args
        if one.annotation is not None
    )


class Call(NamedTuple):
    """What a call passes: how many arguments by position, which by name, and whether more are unpacked."""

    positions: int
    names: frozenset[str | None]
    unpacks: bool


def _is_passed(parameter: Parameter) -> bool:
    """Whether a call in the program or in a test may pass it; a test passes what it replaces."""
    defined = parameter.defined
    if (
        defined.name == "__init__"
    ):  # called by the names of its class, of those below it, and of what holds one
        return any(parameter.name in call.names for calls in _calls().values() for call in calls)
    known = defined.name if defined.owner else f"{defined.module.name}.{defined.name}"
    return known in _handed_on() or any(_passes(call, parameter) for call in _calls()[defined.name])


def _passes(call: Call, parameter: Parameter) -> bool:
    reached = parameter.position is not None and call.positions > parameter.position
    return reached or call.unpacks or parameter.name in call.names


@cache
def _calls() -> dict[str, list[Call]]:
    """Every call of the checkout by the last name of what is called."""
    tests = (ast.walk(ast.parse(text(str(path)))) for path in tracked("*.py") if path.parts[0] == "tests")
    calls: dict[str, list[Call]] = defaultdict(list)
    for node in chain.from_iterable([*(module.nodes for module in modules().values()), *tests]):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                calls[name].append(_call(node))
            case _:
                pass
    return calls


def _call(node: ast.Call) -> Call:
    names = frozenset(keyword.arg for keyword in node.keywords)
    starred = any(isinstance(argument, ast.Starred) for argument in node.args)
    return Call(len(node.args), names, starred or None in names)


@cache
def _handed_on() -> frozenset[str]:
    """Functions by their full names, and methods by theirs, that stand somewhere without being called."""
    return frozenset(
        name for module in modules().values() for node in _values(module) for name in _stand_for(module, node)
    )


def _values(module: Module) -> Iterator[ast.Name | ast.Attribute]:
    called = {id(node.func) for node in module.nodes if isinstance(node, ast.Call)}
    for node in module.nodes:
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in called:
            yield node


def _stand_for(module: Module, node: ast.Name | ast.Attribute) -> set[str]:
    full = module.stands_for(node)
    return {full, node.attr} if isinstance(node, ast.Attribute) else {full}
