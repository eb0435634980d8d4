"""Which dialect a path belongs to, in which order routes are tried, and what is refused at start."""

from __future__ import annotations

from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from imagequeue.dialects.dialect import DialectRoute
from imagequeue.dialects.registry import DIALECTS, Dialects, dialects_in
from tests.dialects.second import SecondDialect


class Sketch(SecondDialect):
    """A dialect with other data."""

    def __init__(self, name: str, *prefixes: str, routes: tuple[DialectRoute, ...] = ()) -> None:
        self.name: Any = name
        self.prefixes: Any = prefixes
        self.routes: Any = routes


class Modelless(Sketch):
    """A dialect that cannot list models."""

    models: Any = None


def route(path: str, verb: Any = "submit", method: Any = "POST") -> DialectRoute:
    return DialectRoute(method, path, verb, "", "", {}, {"json": ()})


PUBLISHED = Dialects(
    [
        Sketch("pixazo", "/"),
        Sketch("openrouter", "/api/v1"),
        Sketch("omixa", "/api/v1/images/generations"),
        Sketch("openai", "/v1", "/openai"),
        Sketch("foundry", "/mai"),
    ]
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/images/generations", "omixa"),
        ("/api/v1/images/generations/", "omixa"),
        ("/api/v1/images/generations/x/y", "omixa"),
        ("/api/v1/images", "openrouter"),
        ("/api/v1/images/generationsx", "openrouter"),
        ("/api/v1/chat/completions", "openrouter"),
        ("/api/v1", "openrouter"),
        ("/api", "pixazo"),
        ("/api/v10", "pixazo"),
        ("/v1/images/generations", "openai"),
        ("/v1", "openai"),
        ("/openai/deployments/x/images/edits", "openai"),
        ("/mai/v1/images/edits", "foundry"),
        ("/mail", "pixazo"),
        ("/v2/requests/status/x", "pixazo"),
        ("/", "pixazo"),
        ("", "pixazo"),
        ("//v1", "pixazo"),
        ("no slash", "pixazo"),
    ],
)
def test_a_path_belongs_to_the_dialect_with_its_longest_prefix(path: str, name: str) -> None:
    assert PUBLISHED.at(path).name == name


def test_with_pixazo_alone_everything_is_pixazos() -> None:
    alone = Dialects([one for one in DIALECTS if one.name == "pixazo"])
    assert {alone.at(path).name for path in ("/", "/v1/x", "/api/v1/images/generations")} == {"pixazo"}


IN_ORDER = [
    "/api/v1/images",
    "/api/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/x-{id}",
    "/v1/images/{id}",
    "/v1/images/{id}/content",
    "/v1/images/{rest:path}",
    "/v1/{kind}/edits",
    "/{model}/v1/x",
    "/{model}/v1/{model}-request",
    "/{model}/v1/{anything}",
]


@given(some.permutations(IN_ORDER))
def test_text_is_tried_before_a_parameter_wherever_two_paths_differ_first(shuffled: list[str]) -> None:
    sketch = Sketch("all", "/", routes=tuple(map(route, shuffled)))
    assert [one.path for _, one in Dialects([sketch]).routes()] == IN_ORDER


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([Sketch("a", "/a")], "no dialect has the prefix /"),
        ([Sketch("a", "/"), Sketch("a", "/a")], "a: two dialects have this name"),
        ([Sketch("a", "/"), Sketch("b", "/x"), Sketch("c", "/x/")], "c: another dialect has the prefix /x/"),
        ([Sketch("a", "/", routes=(route("/x/y"),)), Sketch("b", "/x")], "a: /x/y is below a prefix of b"),
        ([Sketch("a", "/"), Sketch("b", "/x", routes=(route("/y"),))], "b: /y is below a prefix of a"),
        ([Sketch("a", "/", routes=(route("/x", "status", "GET"),))], "a: /x names no {request_id}"),
        ([Modelless("a", "/", routes=(route("/x", "models", "GET"),))], "a: /x lists models"),
        (
            [Sketch("a", "/", routes=(DialectRoute("POST", "/x", "submit", "", "", {}),))],
            "a: /x takes no body and is a submit",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_at_start(found: list[Sketch], told: str) -> None:
    with pytest.raises(TypeError) as raised:
        Dialects(found)
    assert told in str(raised.value)


def _package(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **modules: str) -> ModuleType:
    (folder / name).mkdir()
    for module, code in {"__init__": "", **modules}.items():
        (folder / name / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)  # pyright: ignore[reportUnknownMemberType]
    invalidate_caches()
    return import_module(name)


def test_the_modules_that_say_so_are_dialects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says = "from tests.dialects.second import SecondDialect\nDIALECT = SecondDialect()\n"
    package = _package(tmp_path, monkeypatch, "dialects_of_a_test", zeta=says, beside="OTHER = 1\n")
    (found,) = dialects_in(package)
    assert isinstance(found, SecondDialect)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("number", "DIALECT = 5\n"),
        ("nothing", "DIALECT = None\n"),
        ("a_class", "from tests.dialects.second import SecondDialect\nDIALECT = SecondDialect\n"),
        ("half", "class Half:\n    name = 'half'\n    def read(self): ...\nDIALECT = Half()\n"),
    ],
)
def test_what_is_no_dialect_is_refused_by_the_modules_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    package = _package(tmp_path, monkeypatch, f"wrong_dialects_{name}", wrong=says)
    with pytest.raises(TypeError, match=rf"wrong_dialects_{name}\.wrong: DIALECT is "):
        dialects_in(package)
