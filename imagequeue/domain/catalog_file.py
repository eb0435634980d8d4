"""Read the catalog file. Every mistake in it is an error that names the table, the entry and the key.

Mistakes are: an unknown key, a value of another type, a reference that leads nowhere, a missing environment
variable, a tier that the document does not have, a provider that does not exist.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from imagequeue.domain.catalog import Catalog, CatalogEntry, Deployment, Model, ProviderName, quota_group
from imagequeue.domain.errors import ConfigurationError

E = TypeVar("E", bound=CatalogEntry)


def load_catalog(
    path: Path,
    environment: Mapping[str, str],
    providers: Mapping[ProviderName, object],
    *,
    calls_upstreams: bool = True,
) -> Catalog:
    """Read and check a catalog file; the other arguments are those of `parse_catalog`.

    Raises:
        ConfigurationError: names the file, the entry and what is wrong with it.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        return parse_catalog(tables, environment, providers, calls_upstreams=calls_upstreams)
    except ConfigurationError as error:
        raise ConfigurationError(f"Catalog {path}: {error.message}") from None
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number without end
        raise ConfigurationError(f"Catalog {path}: {error}") from error


def parse_catalog(
    tables: Mapping[str, Any],
    environment: Mapping[str, str],
    providers: Mapping[ProviderName, object],
    *,
    calls_upstreams: bool = True,
) -> Catalog:
    """Check the tables of a catalog file.

    Args:
        tables: what the file has.
        environment: the variables of this process, which have the keys.
        providers: the adapters that the registry has.
        calls_upstreams: a process that makes no calls needs no key, so its environment may have none. One
            that has some is told of those that are missing, for the processes beside it.

    Raises:
        ConfigurationError: names the table, the entry, the key, and what is wrong with it.
    """
    unknown = sorted(set(tables) - {"models", "deployments"})
    if unknown:
        raise ConfigurationError(f"unknown table {', '.join(unknown)}")
    models = _entries(Model, "models", "id", tables)
    deployments = _entries(Deployment, "deployments", "name", tables)
    catalog = Catalog(models, deployments, environment)
    _check_references(catalog, providers)
    if calls_upstreams or any(_has_key(deployment, environment) for deployment in deployments):
        _check_keys(deployments, environment)
    return catalog


def _entries(kind: type[E], table_name: str, key: str, tables: Mapping[str, Any]) -> tuple[E, ...]:
    found = tables.get(table_name, [])
    if not isinstance(found, list):
        raise ConfigurationError(f"{table_name}: write [[{table_name}]] above each entry")
    return tuple(
        _entry(kind, table_name, key, number, table)
        for number, table in enumerate(cast("list[object]", found), 1)
    )


def _entry(kind: type[E], table_name: str, key: str, number: int, table: object) -> E:
    name = cast("dict[str, object]", table).get(key) if isinstance(table, dict) else None
    entry = f"{table_name} '{name}'" if isinstance(name, str) else f"{table_name}, entry {number}"
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(": ".join(filter(None, (entry, place, first["msg"])))) from None


def _has_key(deployment: Deployment, environment: Mapping[str, str]) -> bool:
    return bool(deployment.key_env and environment.get(deployment.key_env))


def _check_keys(deployments: Iterable[Deployment], environment: Mapping[str, str]) -> None:
    for deployment in deployments:
        if deployment.key_env and not _has_key(deployment, environment):
            missing = f"key_env: the environment variable {deployment.key_env} is not set"
            raise ConfigurationError(f"deployments '{deployment.name}': {missing}")


def _check_references(catalog: Catalog, providers: Mapping[ProviderName, object]) -> None:
    _check_unique(
        "models", [name.casefold() for model in catalog.models for name in (model.id, *model.aliases)]
    )
    _check_unique("deployments", [deployment.name for deployment in catalog.deployments])
    for deployment in catalog.deployments:
        _check_deployment(deployment, catalog, providers)


def _check_unique(table_name: str, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigurationError(f"{table_name} '{doubled[0]}': the name or alias is used twice")


def _check_provider(
    deployment: Deployment, providers: Mapping[ProviderName, object], refuse: Callable[[str], None]
) -> None:
    if deployment.provider not in providers:
        known = ", ".join(sorted(providers))
        refuse(f"provider: there is no provider '{deployment.provider}'; there are {known}")
    if deployment.callbacks and not _calls_back(providers[deployment.provider]):
        able = ", ".join(sorted(name for name, adapter in providers.items() if _calls_back(adapter)))
        refuse(f"callbacks: '{deployment.provider}' does not call back; those that do: {able or 'none'}")


def _check_deployment(
    deployment: Deployment, catalog: Catalog, providers: Mapping[ProviderName, object]
) -> None:
    def refuse(reason: str) -> None:
        raise ConfigurationError(f"deployments '{deployment.name}': {reason}")

    _check_provider(deployment, providers, refuse)
    if deployment.model not in {model.id for model in catalog.models}:
        refuse(f"model: there is no model '{deployment.model}'")
    if deployment.tier and not catalog.tier_rpm(deployment):
        refuse("tier: the documented table does not have this model; give rpm")
    if quota_group(deployment, catalog) != catalog.quota_groups[deployment.group]:
        refuse(f"quota_group: '{deployment.group}' is described differently by another deployment")


def _calls_back(adapter: object) -> bool:
    """Whether it is a `CallbackProvider`. The domain may not import that, so it looks for its method."""
    return hasattr(adapter, "parse_callback")
