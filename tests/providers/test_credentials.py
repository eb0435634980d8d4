"""Which secret a deployment is called with."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.providers.credentials import Credentials
from imagequeue.providers.entra import EntraTokens
from imagequeue.providers.registry import PROVIDERS

DEPLOYMENT = {
    "name": "east",
    "model": "mai",
    "provider": "foundry",
    "upstream_model": "mai",
    "endpoint": "https://east.services.ai.azure.com",
    "rpm": 5,
}


def token_provider(credential: object, scope: str) -> Callable[[], str]:
    """As azure-identity makes it of a credential."""
    del credential, scope
    return lambda: "an Entra ID token"


AZURE = {
    "azure.identity": SimpleNamespace(DefaultAzureCredential=str, get_bearer_token_provider=token_provider),
    "azure.core.exceptions": SimpleNamespace(AzureError=OSError),
}


def catalog(key: str, **auth: Any) -> Catalog:
    models = [{"id": "mai", "price_usd": "0.05"}]
    return parse_catalog({"models": models, "deployments": [DEPLOYMENT | auth]}, {"TEST_KEY": key}, PROVIDERS)


def secret(credentials: Credentials, of: Catalog) -> str:
    deployment = of.deployment("east")
    assert deployment is not None
    return credentials(deployment)


def test_a_key_is_the_one_of_the_catalog_that_a_reload_brought() -> None:
    current = [catalog("first", key_env="TEST_KEY")]
    credentials = Credentials(lambda: current[-1])
    assert secret(credentials, current[-1]) == "first"
    current.append(catalog("second", key_env="TEST_KEY"))
    assert secret(credentials, current[-1]) == "second"


def test_a_deployment_with_entra_gets_a_token_instead_of_a_key() -> None:
    entra = catalog("unused", auth="entra")
    credentials = Credentials(lambda: entra, EntraTokens(AZURE.__getitem__))
    assert secret(credentials, entra) == "an Entra ID token"
