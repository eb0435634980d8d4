"""Every provider by the name that the catalog uses."""

from __future__ import annotations

from imagequeue.domain.catalog import ProviderName
from imagequeue.providers.aiml import Aiml
from imagequeue.providers.foundry import Foundry
from imagequeue.providers.omixa import Omixa
from imagequeue.providers.openai import OpenAI
from imagequeue.providers.openrouter import OpenRouter
from imagequeue.providers.pixazo import Pixazo
from imagequeue.providers.provider import Provider

PROVIDERS: dict[ProviderName, Provider] = {
    "foundry": Foundry(),
    "aiml": Aiml(),
    "openrouter": OpenRouter(),
    "omixa": Omixa(),
    "pixazo": Pixazo(),
    "openai": OpenAI(),
}
