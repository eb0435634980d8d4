"""Who writes the columns that hold a state or money: read from the SQL and the SQLAlchemy of the product.

A statement that stands in a constant is written by the functions that name the constant, any other one by the
function around it. Of SQL the states are read too: those that a SET, a VALUES or a SELECT list gives, and
those that a WHERE asks for; a bound parameter says nothing, so it may be any state.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from tests.house.measure import PRODUCT
from tests.house.program import Function, Module, modules, named

WATCHED: Final = {
    "jobs": ("status",),
    "attempts": ("state",),
    "deliveries": ("state",),
    "ledger_entries": ("kind",),
    "batches": ("state",),
    "batch_lines": ("state",),
    "wallets": ("available", "held", "spent"),
}
"""The tables, each with its columns that only one place may move."""

TABLES: Final = "imagequeue.store.tables"

_BEGINS: Final = re.compile(
    r"\b(?:UPDATE(?:\s+ONLY)?|INSERT\s+INTO|COPY|MERGE\s+INTO)\s+(?:public\.)?\"?(\w+|\{\})", re.IGNORECASE
)
_CLAUSES: Final = re.compile(r"[()]|\b(?:SET|FROM|WHERE|RETURNING|SELECT|VALUES|ON)\b", re.IGNORECASE)


class Write(NamedTuple):
    """A column that `function` of a file writes: from which states, to which; None: the text does not say."""

    column: str
    path: str
    function: str
    sources: frozenset[str] | None
    targets: frozenset[str] | None


def product() -> list[Module]:
    """The modules whose writes count: benchmarks and chaos have databases of their own."""
    return [module for folder in PRODUCT for module in modules(f"{folder}/").values()]


def writes(module: Module) -> list[Write]:
    """Every write of a watched column by a statement of the module."""
    return [*_by_sql(module), *_by_tables(module)]


def unreadable(module: Module) -> list[str]:
    """Statements whose table is put in when the program runs, so that nobody can say what they write."""
    return [
        f"{module.path}:{node.lineno}"
        for node, sql in _texts(module)
        if any(begin[1] == "{}" for begin in _BEGINS.finditer(sql))
    ]


def _by_sql(module: Module) -> Iterator[Write]:
    for node, sql in _texts(module):
        for begin in _BEGINS.finditer(sql):
            for name in WATCHED.get(begin[1].lower(), ()):
                moves = _moves(name, sql[begin.end() :], inserts=begin[0][0] in "iIcC")
                if moves:
                    column = f"{begin[1].lower()}.{name}"
                    yield from (
                        Write(column, path, writer, *moves) for path, writer in _writers(module, node)
                    )


def _by_tables(module: Module) -> Iterator[Write]:
    """`insert(table)`, `update(table)`, and the methods of the same names."""
    for node in module.nodes:
        match node:
            case ast.Call(func=ast.Name(id="insert" | "update"), args=[table, *_]):
                pass
            case ast.Call(func=ast.Attribute(attr="insert" | "update"), args=[table, *_]):
                pass
            case ast.Call(func=ast.Attribute(attr="insert" | "update", value=table), args=[]):
                pass
            case _:
                continue
        home, _, name = module.stands_for(table).rpartition(".")
        for column in WATCHED.get(name, ()) if home.startswith(TABLES) else ():
            for path, writer in _writers(module, node):
                yield Write(f"{name}.{column}", path, writer, None, None)


def _texts(module: Module) -> Iterator[tuple[ast.Constant | ast.JoinedStr, str]]:
    """The strings of a module; what an f-string puts in is `{}`."""
    parts = {id(part) for node in module.nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in module.nodes:
        match node:
            case ast.JoinedStr(values=values):
                yield (
                    node,
                    "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in values),
                )
            case ast.Constant(value=str(value)) if id(node) not in parts:
                yield node, value
            case _:
                pass


def _writers(module: Module, node: ast.expr) -> Iterator[tuple[str, str]]:
    around = [one for one in module.nodes if isinstance(one, Function) and _covers(one, node)]
    if around:
        yield str(module.path), max(around, key=lambda one: one.lineno).name
        return
    constants = {name for one in module.tree.body if _covers(one, node) for name in named(one)}
    users = _users() if modules().get(module.name) is module else _users_in(module)
    yield from {user for name in constants for user in users.get(f"{module.name}.{name}", ())}


@cache
def _users() -> dict[str, set[tuple[str, str]]]:
    """The functions of the program that name something, each with its file, by the full name of that."""
    return _users_in(*modules().values())


def _users_in(*among: Module) -> dict[str, set[tuple[str, str]]]:
    users: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for module in among:
        for function in module.nodes:
            if isinstance(function, Function):
                for name in _names_in(module, function):
                    users[name].add((str(module.path), function.name))
    return users


def _names_in(module: Module, function: Function) -> set[str]:
    return {
        module.stands_for(node) for node in ast.walk(function) if isinstance(node, ast.Name | ast.Attribute)
    }


def _covers(statement: ast.stmt, node: ast.expr) -> bool:
    return statement.lineno <= node.lineno <= (statement.end_lineno or 0)


def _moves(
    column: str, sql: str, *, inserts: bool
) -> tuple[frozenset[str] | None, frozenset[str] | None] | None:
    """From which states to which a statement moves `column`, by what follows its table; None: it does not."""
    clauses = _clauses(sql)
    if inserts:
        return frozenset(), _states(_inserted(column, clauses))
    assigned = dict(_assigned(part) for part in _split(clauses.get("SET", "")))
    if column not in assigned:
        return None
    asked = re.findall(rf"\b{column}\s*(?:=|IN)\s*(\([^)]*\)|'\w+')", clauses.get("WHERE", ""))
    return _quoted(" ".join(asked)) or None, _states(assigned[column])


def _clauses(sql: str) -> dict[str, str]:
    """The clauses of one statement by their words; what comes before the first is under the empty word."""
    depth, word, begun = 0, "", 0
    clauses: dict[str, str] = {}
    for token in _CLAUSES.finditer(sql):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth < 0:
            return {word: sql[begun : token.start()], **clauses}
        if depth == 0 and token[0] not in "()":
            clauses.setdefault(word, sql[begun : token.start()])
            word, begun = token[0].upper(), token.end()
    return {word: sql[begun:], **clauses}


def _inserted(column: str, clauses: dict[str, str]) -> str:
    """What an INSERT or a COPY gives `column`; empty: its default, or a value that the text does not have."""
    names = [name.strip() for name in _split(clauses.get("", "").strip().strip("()"))]
    if column not in names:
        return ""
    values = clauses.get("SELECT") or clauses.get("VALUES", "").strip().strip("()")
    return _split(values)[names.index(column)]


def _assigned(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), value.strip()


def _split(listed: str) -> list[str]:
    """The parts between commas that stand in no parentheses."""
    depth, parts = 0, [""]
    for character in listed:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _states(value: str) -> frozenset[str] | None:
    """The states that an expression may give: what stands behind THEN or ELSE, or alone."""
    return _quoted(" ".join(re.findall(r"(?:^|THEN|ELSE)\s*('\w+')", value.strip()))) or None


def _quoted(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"'(\w+)'", text))
