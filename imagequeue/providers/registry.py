"""Every provider by the name that the catalog uses: the name of the module that says `PROVIDER = ...`.

Nothing else names an adapter, so that a new one is a new file. The modules beside the adapters, which several
of them use, have no `PROVIDER`. What is found is the same in every process of an installation: it is looked
for once, when this module is imported, in the order of the alphabet.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType

from imagequeue.domain.catalog import ProviderName
from imagequeue.providers import adapters
from imagequeue.providers.provider import Provider


def adapters_in(package: ModuleType) -> dict[ProviderName, Provider]:
    """The adapters among the modules of a package, by the modules' names.

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
