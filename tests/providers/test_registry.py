"""The registry finds the adapters of a package, and takes nothing else for one."""

from __future__ import annotations

from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType

import pytest

from imagequeue.providers.adapters.openai import OpenAI
from imagequeue.providers.provider import Provider
from imagequeue.providers.registry import PROVIDERS, adapters_in


def _package(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **modules: str) -> ModuleType:
    (folder / name).mkdir()
    for module, code in {"__init__": "", **modules}.items():
        (folder / name / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)  # pyright: ignore[reportUnknownMemberType]
    invalidate_caches()
    return import_module(name)


def test_the_modules_that_say_so_are_adapters_in_the_order_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "from imagequeue.providers.adapters.openai import OpenAI\nPROVIDER = OpenAI()\n"
    package = _package(
        tmp_path, monkeypatch, "adapters_of_a_test", zeta=says, beside="OTHER = 1\n", alpha=says
    )
    found = adapters_in(package)
    assert list(found) == ["alpha", "zeta"]
    assert all(isinstance(adapter, OpenAI) for adapter in found.values())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("number", "PROVIDER = 5\n"),
        ("nothing", "PROVIDER = None\n"),
        ("a_class", "from imagequeue.providers.adapters.openai import OpenAI\nPROVIDER = OpenAI\n"),
        ("half", "class Half:\n    def build(self): ...\n    def parse(self): ...\nPROVIDER = Half()\n"),
    ],
)
def test_what_is_no_provider_is_refused_by_the_modules_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    package = _package(tmp_path, monkeypatch, f"wrong_adapters_{name}", wrong=says)
    with pytest.raises(TypeError, match=rf"wrong_adapters_{name}\.wrong: PROVIDER is "):
        adapters_in(package)


def test_what_was_found_cannot_be_changed() -> None:
    assert list(PROVIDERS) == sorted(PROVIDERS)
    assert all(isinstance(provider, Provider) for provider in PROVIDERS.values())
    with pytest.raises(TypeError):
        PROVIDERS["another"] = OpenAI()  # type: ignore[index]  # that is the point
