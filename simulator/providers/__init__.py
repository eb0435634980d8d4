"""The protocols of the upstream services, one file each."""

from collections.abc import Mapping

from simulator.config import ProviderName
from simulator.providers.foundry import Foundry
from simulator.providers.provider import Provider

PROVIDERS: Mapping[ProviderName, Provider] = {"foundry": Foundry()}
