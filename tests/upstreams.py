"""All five upstreams behind one model, quick and with quota enough, and the catalog that names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.providers.registry import PROVIDERS
from tests.builders import MODEL

COSTS = {
    "east": "0.033",
    "west": "0.034",
    "omixa": "0.039",
    "pixazo": "0.0391",
    "openrouter": "0.04",
    "aiml": "0.06",
}
"""What the catalog says that an image costs, by deployment; the cheapest first."""
_MODELS = {
    "east": ("foundry", "mai-image-2-5"),
    "west": ("foundry", "mai-image-2-5"),
    "omixa": ("omixa", "MAI-Image-2.5"),
    "pixazo": ("pixazo", MODEL),
    "openrouter": ("openrouter", "microsoft/mai-image-2.5"),
    "aiml": ("aiml", "microsoft/mai-image-2.5"),
}
EDITING = tuple(name for name in COSTS if name != "aiml")

UNDOCUMENTED_FORMS: dict[str, dict[str, Any]] = {
    "gzip": {"kind": "compressed"},
    "deflate": {"kind": "compressed", "encoding": "deflate"},
    "brotli": {"kind": "compressed", "encoding": "br"},
    "zstd": {"kind": "compressed", "encoding": "zstd"},
    "base64 with line breaks": {"kind": "line_breaks"},
    "the image itself": {"kind": "raw_image"},
    "a link as text": {"kind": "url_text"},
    "a relative link": {"kind": "relative_url"},
    "one value for an array": {"kind": "one_for_array"},
}
"""Faults in whose answers the image is whole, in a form that no document of an upstream shows."""


def upstreams(**model: Any) -> dict[str, Any]:
    """The simulator's upstreams, by the name of their deployment; `model` changes every model."""
    return {
        name: {
            "provider": provider,
            "keys": ["upstream-key"],
            "models": {upstream_model: {"rpm": 1000, "latency_ms": [0, 0], **model}},
        }
        for name, (provider, upstream_model) in _MODELS.items()
    }


def catalog_of(
    *names: str, changes: dict[str, dict[str, Any]] | None = None, **common: Any
) -> Callable[[str], Catalog]:
    """A catalog of these deployments for a simulator at a URL; `changes` by name, `common` to all."""

    def made(simulator_url: str) -> Catalog:
        model = {"id": MODEL, "operations": ["generate", "edit"], "price_usd": "0.05"}
        deployments = [
            _deployment(name, simulator_url) | common | (changes or {}).get(name, {}) for name in names
        ]
        return parse_catalog(
            {"models": [model], "deployments": deployments}, {"TEST_KEY": "upstream-key"}, PROVIDERS
        )

    return made


def _deployment(name: str, simulator_url: str) -> dict[str, Any]:
    provider, upstream_model = _MODELS[name]
    return {
        "name": name,
        "model": MODEL,
        "provider": provider,
        "upstream_model": upstream_model,
        "endpoint": f"{simulator_url}/{name}",
        "key_env": "TEST_KEY",
        "rpm": 1000,
        "cold_start": "fresh",
        "guard_ms": 0,
        "pace": False,
        "cost_usd": COSTS[name],
    }
