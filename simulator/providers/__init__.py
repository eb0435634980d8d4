"""The protocols of the upstream services, one file each."""

from collections.abc import Mapping

from simulator.config import ProviderName
from simulator.providers.aiml import Aiml
from simulator.providers.foundry import Foundry
from simulator.providers.omixa import Omixa
from simulator.providers.openai import OpenAi
from simulator.providers.openrouter import OpenRouter
from simulator.providers.pixazo import Pixazo
from simulator.providers.provider import Provider

PROVIDERS: Mapping[ProviderName, Provider] = {
    "foundry": Foundry(),
    "aiml": Aiml(),
    "openrouter": OpenRouter(),
    "omixa": Omixa(),
    "pixazo": Pixazo(),
    "openai": OpenAi(),
}
