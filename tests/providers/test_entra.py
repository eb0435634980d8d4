"""Entra ID tokens, with a library that is not installed and one that is not there in Azure."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from imagequeue.domain.upstream import Misconfigured
from imagequeue.providers.entra import SCOPE, EntraTokens


class AzureError(Exception):
    """The base of the library's errors."""


def library(provider: Callable[[], str], asked: list[Any]) -> Callable[[str], Any]:
    """What `import_module` would give with azure-identity installed."""

    def make(credential: object, scope: str) -> Callable[[], str]:
        asked.append((credential, scope))
        return provider

    modules = {
        "azure.identity": SimpleNamespace(DefaultAzureCredential=str, get_bearer_token_provider=make),
        "azure.core.exceptions": SimpleNamespace(AzureError=AzureError),
    }
    return modules.__getitem__


def test_the_provider_is_made_once_for_the_documented_scope_and_asked_each_time() -> None:
    asked: list[Any] = []
    tokens = iter(["first", "second"])
    source = EntraTokens(library(lambda: next(tokens), asked))
    assert [source.token(), source.token()] == ["first", "second"]
    assert asked == [("", SCOPE)]


def test_without_a_working_credential_the_deployment_is_misconfigured() -> None:
    def fail() -> str:
        raise AzureError("DefaultAzureCredential failed to retrieve a token\nEnvironmentCredential: ...")

    with pytest.raises(Misconfigured, match=r"failed to retrieve a token$"):
        EntraTokens(library(fail, [])).token()


def test_without_the_package_the_error_names_it() -> None:
    def not_installed(name: str) -> Any:
        raise ModuleNotFoundError(name)

    with pytest.raises(Misconfigured, match="azure-identity"):
        EntraTokens(not_installed).token()
