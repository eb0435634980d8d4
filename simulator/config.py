"""What the simulator serves: upstreams, their keys, their models and their quotas."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Operation = Literal["generate", "edit"]
ProviderName = Literal["foundry", "aiml", "openrouter", "omixa", "pixazo", "openai"]
RetryAfterForm = Literal["seconds", "date", "milliseconds", "x-ms-milliseconds", "none"]

DEMO_KEY = "simulator-key"
DEMO_ENTRA_TOKEN = "simulator-entra-token"  # noqa: S105  # a documented value that opens nothing but the simulator
DEMO_RPM = 600
"""Calls a minute: ten a second, so that what is tried with the simulator ends soon."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(_Strict):
    """One model (or Foundry deployment) of an upstream.

    `rpm` counts calls in any half-open window of `window_seconds`. Models that name the same `quota` share
    one log, also over several upstreams; without a name each model has its own. Latency and jitter are in
    milliseconds, drawn uniformly from the given range. `max_images` caps what one call returns, silently, as
    Omixa's document says of `n`; `texture = "noise"` makes images that do not compress (about 3 MB at 1024 x
    1024).
    """

    rpm: int = Field(ge=0)
    window_seconds: float = Field(default=60, gt=0)
    quota: str | None = None
    latency_ms: tuple[float, float] = (300, 1000)
    admission_jitter_ms: tuple[float, float] = (0, 0)
    operations: tuple[Operation, ...] = ("generate", "edit")
    cost_usd: Decimal = Decimal("0.039")
    max_images: int = Field(default=10, ge=1)
    texture: Literal["smooth", "noise"] = "smooth"

    @field_validator("latency_ms", "admission_jitter_ms")
    @classmethod
    def _ordered(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        low, high = value
        if not 0 <= low <= high:
            raise ValueError(f"{info.field_name} must be two numbers, 0 <= low <= high")
        return value


class UpstreamConfig(_Strict):
    """One named upstream: its base URL is `http://host:port/{name}`.

    `entra_tokens` are bearer tokens that Foundry takes besides the `api-key`s. `retry_after` is the form of
    the hint in an answer 429.
    """

    provider: ProviderName
    keys: tuple[str, ...] = Field(default=(DEMO_KEY,), min_length=1)
    entra_tokens: tuple[str, ...] = ()
    retry_after: RetryAfterForm = "seconds"
    models: dict[str, ModelConfig] = Field(min_length=1)

    def quotas(self, name: str) -> dict[str, ModelConfig]:
        """The quota of every model, by quota name; `name` is this upstream's."""
        return {quota_name(name, model, config): config for model, config in self.models.items()}


def quota_name(upstream: str, model: str, config: ModelConfig) -> str:
    """The name of the log that counts calls of this model."""
    return config.quota or f"{upstream}/{model}"


UpstreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class SimulatorConfig(_Strict):
    """All upstreams of one simulator. `seed` decides latencies, jitter and the chances of faults."""

    upstreams: dict[UpstreamName, UpstreamConfig] = Field(min_length=1)
    seed: int = 0

    @model_validator(mode="after")
    def _shared_quotas_agree(self) -> "SimulatorConfig":
        sizes: dict[str, tuple[int, float]] = {}
        for name, upstream in self.upstreams.items():
            for model, config in upstream.models.items():
                quota, size = quota_name(name, model, config), (config.rpm, config.window_seconds)
                if sizes.setdefault(quota, size) != size:
                    raise ValueError(f"models that share the quota {quota!r} differ in rpm or window_seconds")
        return self


def _demo_model(cost: str, *operations: Operation) -> ModelConfig:
    return ModelConfig(rpm=DEMO_RPM, operations=operations, cost_usd=Decimal(cost))


def default_config() -> SimulatorConfig:
    """The upstreams of a demo: every provider, key `simulator-key`, 600 calls a minute, 0.3 to 1 s each."""
    foundry = UpstreamConfig(
        provider="foundry",
        entra_tokens=(DEMO_ENTRA_TOKEN,),
        models={
            "mai-image-2-5": _demo_model("0.033", "generate", "edit"),
            "mai-image-2-5-flash": _demo_model("0.020", "generate", "edit"),
            "mai-image-2e": _demo_model("0.018", "generate"),
            "mai-image-2": _demo_model("0.030", "generate"),
        },
    )
    both: tuple[Operation, Operation] = ("generate", "edit")
    return SimulatorConfig(
        upstreams={
            "foundry-eastus": foundry,
            "foundry-westus": foundry,
            "aiml": _single("aiml", "microsoft/mai-image-2.5", _demo_model("0.0626835", "generate")),
            "openrouter": _single("openrouter", "microsoft/mai-image-2.5", _demo_model("0.04", *both)),
            "omixa": _single("omixa", "MAI-Image-2.5", _demo_model("0.039", *both)),
            "pixazo": _single("pixazo", "microsoft-mai-image-2-5", _demo_model("0.039", *both)),
            "openai": _single("openai", "gpt-image-2", _demo_model("0.042", *both)),
        }
    )


def _single(provider: ProviderName, model: str, config: ModelConfig) -> UpstreamConfig:
    return UpstreamConfig(provider=provider, models={model: config})


def load_config(path: Path) -> SimulatorConfig:
    """Read a JSON file; raises OSError, or pydantic's ValidationError that names the wrong entry."""
    return SimulatorConfig.model_validate_json(path.read_bytes())
