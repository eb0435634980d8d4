"""Every provider by the name that the catalog uses."""

from __future__ import annotations

from imagequeue.domain.catalog import ProviderName
from imagequeue.providers.foundry import Foundry
from imagequeue.providers.provider import Provider

PROVIDERS: dict[ProviderName, Provider] = {
    "foundry": Foundry(),
}
