"""The catalog: models, deployments and quota groups, as `catalog.toml` has them.

Source: docs/design/contract.md, "Catalog".

Names and prices are data. `domain/catalog_file.py` reads the file and checks the entries against each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    model_validator,
)

from imagequeue.domain.errors import UnknownModel
from imagequeue.domain.images import Operation
from imagequeue.domain.tiers import rpm_of_tier

ProviderName: TypeAlias = str
"""The name of an adapter's module (`imagequeue/providers/registry.py`). The domain does not list them."""

LONGEST_WINDOW_SECONDS = 366 * 24 * 60 * 60
"""A year: no upstream is known to count longer, and the time at which a token returns stays a valid one."""

MEGAPIXEL = 1024 * 1024
"""Pixels: the least that a Foundry deployment's model makes. The shape `auto` is such a square."""
LARGEST_PIXELS = 4 * MEGAPIXEL
"""Pixels: 2048 x 2048. As an uncompressed PNG, in base64, that is what an answer with one image may hold."""

OptionalField: TypeAlias = Literal[
    "quality",
    "background",
    "moderation",
    "input_fidelity",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "output_format",
]
"""A field of a request without which an upstream serves it too. Images come in the asked format without
`output_format` as well, because they are converted."""


def _plain_amount(value: object) -> Decimal:
    """An amount in TOML: a string of plain decimals, or a number that is not a boolean."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return Decimal(value)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return Decimal(str(value))
    raise ValueError('give an amount in USD, such as "0.039"')


def _without_doubles(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a value stands there twice")
    return values


Text = Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=500)]
Usd = Annotated[Decimal, BeforeValidator(_plain_amount), Field(ge=0, max_digits=18, decimal_places=9)]
"""An amount that the database's NUMERIC(18, 9) can hold."""


class CatalogEntry(BaseModel):
    """A table of the catalog file. Unknown keys and values of another type are refused. Immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Model(CatalogEntry):
    """What clients can ask for, and what they pay for an image."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,99}$")
    aliases: Annotated[tuple[Text, ...], Strict(strict=False)] = ()
    operations: Annotated[
        tuple[Operation, ...], Strict(strict=False), Field(min_length=1), AfterValidator(_without_doubles)
    ] = ("generate",)
    price_usd: Usd
    enabled: bool = True


class Deployment(CatalogEntry):
    """A model at a provider, with its quota, key and cost. The contract says what each key means."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    model: str
    provider: ProviderName
    upstream_model: Text
    endpoint: str = Field(pattern=r"^https?://[^\s]+$")
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    rpm: int | None = Field(default=None, ge=1, le=100_000)
    tier: int | None = Field(default=None, ge=0, le=6)
    cost_usd: Usd | None = None
    auth: Literal["key", "entra"] = "key"
    cold_start: Literal["spent", "fresh"] = "spent"
    max_attempts: int = Field(default=6, ge=1, le=100)
    max_in_flight: int | None = Field(default=None, ge=1)
    quota_group: Text = ""
    order: int = 1
    spill_after_seconds: float = Field(default=5, ge=0)
    window_seconds: float = Field(default=60, gt=0, le=LONGEST_WINDOW_SECONDS)
    pace: bool = True
    guard_ms: int = Field(default=400, ge=0, le=60_000)
    timeout_seconds: float = Field(default=180, gt=0, le=3600)
    retry_ambiguous: bool = True
    callbacks: bool = False
    most_pixels: int | None = Field(default=None, ge=MEGAPIXEL, le=LARGEST_PIXELS)
    shortest_side: int | None = Field(default=None, ge=64, le=1024)
    api: Literal["chat", "images"] = "chat"
    modalities: Annotated[
        tuple[Literal["image", "text"], ...],
        Strict(strict=False),
        Field(min_length=1),
        AfterValidator(_without_doubles),
    ] = ("image", "text")
    refused_fields: Annotated[
        tuple[OptionalField, ...], Strict(strict=False), AfterValidator(_without_doubles)
    ] = ()

    @model_validator(mode="after")
    def _has_one_rate(self) -> Self:
        if (self.rpm is None) == (self.tier is None):
            raise ValueError("give either rpm or tier")
        if self.tier is not None and self.provider != "foundry":
            raise ValueError("tier is for Foundry deployments; give rpm")
        if self.tier == 0:
            raise ValueError("tier 0 has no requests per minute")
        return self

    @model_validator(mode="after")
    def _fits_its_provider(self) -> Self:
        if self.auth == "entra" and self.provider != "foundry":
            raise ValueError('auth = "entra" is for Foundry deployments')
        if (self.most_pixels or self.shortest_side) and self.provider != "foundry":
            raise ValueError("most_pixels and shortest_side are for Foundry deployments")
        if {"api", "modalities"} & self.model_fields_set and self.provider != "openrouter":
            raise ValueError("api and modalities are for OpenRouter deployments")
        return self

    @model_validator(mode="after")
    def _makes_images_and_has_a_key(self) -> Self:
        if "image" not in self.modalities:
            raise ValueError('modalities must have "image"')
        if self.auth == "key" and self.key_env is None:
            raise ValueError('key_env is missing (or say auth = "entra")')
        return self

    @property
    def group(self) -> str:
        """The quota group; a deployment without one is a group of its own."""
        return self.quota_group or self.name


class QuotaGroup(CatalogEntry):
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
        """Find a deployment, also one that a reload removed, because its calls may still be in flight."""
        return self._deployments_by_name.get(name)

    def after(self, earlier: Catalog) -> Catalog:
        """Let `deployment` also find those that only `earlier` had. They get no new calls."""
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
        """Calls in a window: `rpm`, or by `tier`."""
        return deployment.rpm or self.tier_rpm(deployment) or 1

    def tier_rpm(self, deployment: Deployment) -> int | None:
        """Calls in a window by the documented table of tiers; None when the table lacks the model.

        `upstream_model` is looked up last, because at Foundry it may be any name that the user chose.
        """
        model = self._models_by_name.get(deployment.model.casefold())
        names = (model.id, *model.aliases) if model else ()
        return rpm_of_tier((*names, deployment.upstream_model), deployment.tier)


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
