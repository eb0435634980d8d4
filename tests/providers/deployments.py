"""A deployment of each provider."""

from __future__ import annotations

from imagequeue.domain.catalog import Deployment, ProviderName

UPSTREAM_MODELS: dict[ProviderName, str] = {
    "foundry": "mai-image-2-5",
    "aiml": "microsoft/mai-image-2.5",
    "openrouter": "microsoft/mai-image-2.5",
    "omixa": "MAI-Image-2.5",
    "pixazo": "microsoft-mai-image-2-5",
    "openai": "gpt-image-1",
}


def deployment(
    provider: ProviderName, endpoint: str = "https://upstream.example", **more: object
) -> Deployment:
    """A deployment of the provider at the endpoint."""
    fields: dict[str, object] = {
        "name": f"{provider}-test",
        "model": "microsoft-mai-image-2-5",
        "provider": provider,
        "upstream_model": UPSTREAM_MODELS[provider],
        "endpoint": endpoint,
        "key_env": "KEY",
        "rpm": 600,
    }
    return Deployment.model_validate({**fields, **more})
