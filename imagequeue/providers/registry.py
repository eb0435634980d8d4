"""Every provider by its name in the catalog: the name of a module in `adapters/` that defines `PROVIDER`.

No other file names an adapter, so a new provider is one new file. The adapters are found once, when this
module is imported, in alphabetical order: every process of an installation has the same ones.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType

from imagequeue.domain.catalog import Deployment, ProviderName
from imagequeue.domain.images import Requirement
from imagequeue.providers import adapters
from imagequeue.providers.provider import Provider


def adapters_in(package: ModuleType) -> dict[ProviderName, Provider]:
    """The adapters of a package by the names of their modules; modules without `PROVIDER` are skipped.

    Raises:
        TypeError: a module's `PROVIDER` is not a provider; the message names the module.
    """
    names = sorted(f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__))
    modules = [import_module(name) for name in names]
    return {
        module.__name__.rpartition(".")[2]: _adapter(module)
        for module in modules
        if hasattr(module, "PROVIDER")
    }


def _adapter(module: ModuleType) -> Provider:
    adapter: object = module.PROVIDER
    if isinstance(adapter, type) or not isinstance(adapter, Provider):
        raise TypeError(f"{module.__name__}: PROVIDER is {adapter!r}, which is not a Provider")
    return adapter


PROVIDERS: Mapping[ProviderName, Provider] = MappingProxyType(adapters_in(adapters))


def images_per_call(deployment: Deployment, requirement: Requirement) -> int:
    """How many images one call of a deployment may ask for; 0 when it cannot serve the requirement."""
    provider = PROVIDERS[deployment.provider]
    if requirement.unfetched or provider.refusal(requirement, deployment) is not None:
        return 0
    return provider.images_per_call(requirement, deployment)
