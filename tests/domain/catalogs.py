"""Catalogs of one model and one deployment, with changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagequeue.domain.catalog import Catalog, Deployment, Model
from imagequeue.domain.catalog_file import parse_catalog


class CallsBack:
    """What the catalog sees of an adapter whose upstream can call back."""

    def parse_callback(self) -> None: ...


PROVIDERS = {"foundry": object(), "aiml": object(), "openrouter": object(), "poster": CallsBack()}
ENVIRONMENT = {"KEY": "the key", "EMPTY": ""}
MODEL: dict[str, Any] = {"id": "mai-image-2", "price_usd": "0.036"}
DEPLOYMENT: dict[str, Any] = {
    "name": "east",
    "model": "mai-image-2",
    "provider": "foundry",
    "upstream_model": "my-own-name",
    "endpoint": "https://my-resource.services.ai.azure.com",
    "key_env": "KEY",
    "rpm": 6,
}


def parsed(
    *, models: Sequence[dict[str, Any]] = (MODEL,), deployments: Sequence[dict[str, Any]] = (DEPLOYMENT,)
) -> Catalog:
    """A catalog of these entries."""
    tables = {"models": list(models), "deployments": list(deployments)}
    return parse_catalog(tables, ENVIRONMENT, PROVIDERS)


def deployment_with(**changes: Any) -> Deployment:
    """The deployment with changes; None leaves a key out."""
    fields = {key: value for key, value in (DEPLOYMENT | changes).items() if value is not None}
    return parsed(deployments=(fields,)).deployments[0]


def model_with(**changes: Any) -> Model:
    """The model with changes."""
    return parsed(models=(MODEL | changes,)).models[0]
