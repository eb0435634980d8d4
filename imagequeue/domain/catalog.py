"""The catalog: models, deployments and quota groups, as `catalog.toml` has them (contract.md, "Catalog").

Names and prices are data. Every mistake is an error that names its entry: unknown keys, dangling
references, missing environment variables, a tier that the documents do not have.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imagequeue.domain.errors import ConfigurationError, UnknownModel
from imagequeue.domain.images import Operation

ProviderName = Literal["foundry", "aiml", "openrouter", "omixa", "pixazo", "openai"]

CALL_BACK: frozenset[ProviderName] = frozenset({"pixazo"})
"""Whose adapters are a `CallbackProvider`; the domain cannot see them, so a test compares."""

FOUNDRY_RPM_BY_TIER: dict[str, tuple[int, int, int, int, int, int]] = {
    "mai-image-2.5-flash": (2, 4, 6, 8, 10, 12),
    "mai-image-2.5": (2, 4, 6, 8, 10, 12),
    "mai-image-2e": (18, 30, 60, 90, 120, 180),
    "mai-image-2": (9, 15, 30, 45, 60, 90),
}
"""Requests per minute for tiers 1 to 6 (the Foundry document, "API quotas and limits"). Tier 0 has none."""


class Entry(BaseModel):
    """A table of the catalog file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


E = TypeVar("E", bound=Entry)


class Model(Entry):
    """What clients can ask for, and what they pay for an image."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,99}$")
    aliases: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = ("generate",)
    price_usd: Decimal = Field(ge=0, max_digits=18, decimal_places=9)
    enabled: bool = True


class Deployment(Entry):
    """A model at a provider, with its quota, key and cost."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    model: str
    provider: ProviderName
    upstream_model: str
    endpoint: str = Field(pattern=r"^https?://[^\s]+$")
    key_env: str | None = None
    rpm: int | None = Field(default=None, ge=1, le=100_000)
    tier: int | None = Field(default=None, ge=0, le=6)
    cost_usd: Decimal | None = Field(default=None, ge=0)
    auth: Literal["key", "entra"] = "key"
    cold_start: Literal["spent", "fresh"] = "spent"
    max_attempts: int = Field(default=6, ge=1, le=100)
    max_in_flight: int | None = Field(default=None, ge=1)
    quota_group: str = ""
    order: int = 1
    spill_after_seconds: float = Field(default=5, ge=0)
    window_seconds: float = Field(default=60, gt=0)
    pace: bool = True
    guard_ms: int = Field(default=400, ge=0, le=60_000)
    timeout_seconds: float = Field(default=180, gt=0, le=3600)
    retry_ambiguous: bool = True
    callbacks: bool = False

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.rpm is None) == (self.tier is None):
            raise ValueError("give either rpm or tier")
        if self.tier is not None and self.provider != "foundry":
            raise ValueError("tier is for Foundry deployments; give rpm")
        if self.tier == 0:
            raise ValueError("tier 0 has no requests per minute")
        if self.auth == "entra" and self.provider != "foundry":
            raise ValueError('auth = "entra" is for Foundry deployments')
        if self.auth == "key" and self.key_env is None:
            raise ValueError('key_env is missing (or say auth = "entra")')
        if self.callbacks and self.provider not in CALL_BACK:
            raise ValueError(f"callbacks is for upstreams that call back: {', '.join(sorted(CALL_BACK))}")
        return self

    @property
    def group(self) -> str:
        """The quota group; a deployment without one is a group of its own."""
        return self.quota_group or self.name


class QuotaGroup(Entry):
    """One upstream quota: at most `rpm` calls in any window of `window_seconds`."""

    name: str
    rpm: int
    window_seconds: float
    guard_ms: int
    pace: bool
    cold_start: Literal["spent", "fresh"]


class Catalog:
    """All entries, checked against each other, with look-ups by name."""

    def __init__(
        self, models: tuple[Model, ...], deployments: tuple[Deployment, ...], secrets: Mapping[str, str]
    ) -> None:
        self.models = models
        self.deployments = deployments
        self._secrets = secrets
        self._models_by_name = {
            name.casefold(): model for model in models for name in (model.id, *model.aliases)
        }
        self._deployments_by_name = {deployment.name: deployment for deployment in deployments}

    def model(self, name: str) -> Model:
        """Find a model by id or alias, whatever the case.

        Raises:
            UnknownModel: there is none, or it is disabled.
        """
        model = self._models_by_name.get(name.casefold())
        if model is None or not model.enabled:
            raise UnknownModel.named(name)
        return model

    def deployment(self, name: str) -> Deployment | None:
        """Find a deployment, also one that a reload took out: calls may be in flight there."""
        return self._deployments_by_name.get(name)

    def after(self, earlier: Catalog) -> Catalog:
        """This catalog, which also knows by name what only `earlier` had: nothing new goes there."""
        self._deployments_by_name = earlier._deployments_by_name | self._deployments_by_name
        return self

    def deployments_of(self, model_id: str) -> tuple[Deployment, ...]:
        """The deployments of a model, lowest order first."""
        return self._deployments_by_model.get(model_id, ())

    def secret(self, deployment: Deployment) -> str:
        """The deployment's API key; empty for Entra ID."""
        return self._secrets.get(deployment.key_env or "", "")

    @cached_property
    def _deployments_by_model(self) -> dict[str, tuple[Deployment, ...]]:
        by_order = sorted(self.deployments, key=lambda deployment: (deployment.order, deployment.name))
        return {
            model.id: tuple(deployment for deployment in by_order if deployment.model == model.id)
            for model in self.models
        }

    @cached_property
    def quota_groups(self) -> dict[str, QuotaGroup]:
        """Every quota group by name."""
        return {deployment.group: quota_group(deployment, self) for deployment in self.deployments}

    def rpm(self, deployment: Deployment) -> int:
        """Calls per window, given or by tier."""
        return deployment.rpm or self.tier_rpm(deployment) or 1

    def tier_rpm(self, deployment: Deployment) -> int | None:
        """What the documented table has for the deployment's model and tier, if it has it."""
        model = self._models_by_name.get(deployment.model.casefold())
        names = {deployment.upstream_model, *((model.id, *model.aliases) if model else ())}
        row = next(
            (FOUNDRY_RPM_BY_TIER[key] for key in map(_tier_key, names) if key in FOUNDRY_RPM_BY_TIER), None
        )
        return row[deployment.tier - 1] if row and deployment.tier else None


def quota_group(deployment: Deployment, catalog: Catalog) -> QuotaGroup:
    """The quota group as this deployment describes it."""
    return QuotaGroup(
        name=deployment.group,
        rpm=catalog.rpm(deployment),
        window_seconds=deployment.window_seconds,
        guard_ms=deployment.guard_ms,
        pace=deployment.pace,
        cold_start=deployment.cold_start,
    )


def _tier_key(name: str) -> str:
    """`microsoft/MAI-Image-2.5` and `microsoft-mai-image-2-5` are `mai-image-2.5` in the tier table."""
    return name.casefold().rpartition("/")[2].removeprefix("microsoft-").replace("2-5", "2.5")


def load_catalog(path: Path, environment: Mapping[str, str]) -> Catalog:
    """Read and check a catalog file.

    Raises:
        ConfigurationError: names the file, the entry and what is wrong with it.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"Catalog {path}: {error}") from error
    return parse_catalog(tables, environment)


def parse_catalog(tables: Mapping[str, Any], environment: Mapping[str, str]) -> Catalog:
    """Check the tables of a catalog file.

    Raises:
        ConfigurationError: names the entry and what is wrong with it.
    """
    unknown = sorted(set(tables) - {"models", "deployments"})
    if unknown:
        raise ConfigurationError(f"Catalog: unknown table {', '.join(unknown)}")
    models = tuple(_entry(Model, "models", "id", table) for table in tables.get("models", ()))
    deployments = tuple(
        _entry(Deployment, "deployments", "name", table) for table in tables.get("deployments", ())
    )
    catalog = Catalog(models, deployments, environment)
    _check_references(catalog, environment)
    return catalog


def _entry(kind: type[E], table_name: str, key: str, table: Mapping[str, Any]) -> E:
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "entry"
        name = table.get(key, "without a name")
        raise ConfigurationError(f"Catalog: {table_name} '{name}': {place}: {first['msg']}") from None


def _check_references(catalog: Catalog, environment: Mapping[str, str]) -> None:
    _check_unique(
        "models", [name.casefold() for model in catalog.models for name in (model.id, *model.aliases)]
    )
    _check_unique("deployments", [deployment.name for deployment in catalog.deployments])
    model_ids = {model.id for model in catalog.models}
    for deployment in catalog.deployments:
        _check_deployment(deployment, catalog, model_ids, environment)


def _check_unique(table_name: str, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigurationError(f"Catalog: {table_name} '{doubled[0]}': the name or alias is used twice")


def _check_deployment(
    deployment: Deployment, catalog: Catalog, model_ids: set[str], environment: Mapping[str, str]
) -> None:
    def refuse(reason: str) -> None:
        raise ConfigurationError(f"Catalog: deployments '{deployment.name}': {reason}")

    if deployment.model not in model_ids:
        refuse(f"model: there is no model '{deployment.model}'")
    if deployment.key_env and not environment.get(deployment.key_env):
        refuse(f"key_env: the environment variable {deployment.key_env} is not set")
    if deployment.tier and not catalog.tier_rpm(deployment):
        refuse("tier: the documented table does not have this model; give rpm")
    if quota_group(deployment, catalog) != catalog.quota_groups[deployment.group]:
        refuse(f"quota_group: '{deployment.group}' is described differently by another deployment")
