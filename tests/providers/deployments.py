"""A deployment of each provider."""

from __future__ import annotations

from imagequeue.domain.catalog import Deployment, ProviderName
from tests.providers.documents import document


def deployment(
    provider: ProviderName, endpoint: str = "https://upstream.example", **more: object
) -> Deployment:
    """A deployment of the provider at the endpoint."""
    fields: dict[str, object] = {
        "name": f"{provider}-test",
        "model": "microsoft-mai-image-2-5",
        "provider": provider,
        "upstream_model": document(provider).upstream_model,
        "endpoint": endpoint,
        "key_env": "KEY",
        "rpm": 600,
    }
    return Deployment.model_validate({**fields, **more})
