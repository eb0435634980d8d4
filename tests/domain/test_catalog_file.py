"""The catalog file: every key of the contract is read, every mistake is refused with its entry's name."""

from __future__ import annotations

import re
import tomllib
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from imagequeue.domain.catalog import Model
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.domain.errors import ConfigurationError
from tests.domain.catalogs import (
    DEPLOYMENT,
    ENVIRONMENT,
    MODEL,
    PROVIDERS,
    deployment_with,
    model_with,
    parsed,
)

CONTRACT = """
[[models]]
id = "microsoft-mai-image-2-5"
aliases = ["microsoft/mai-image-2.5", "MAI-Image-2.5"]
operations = ["generate", "edit"]
price_usd = "0.039"

[[deployments]]
name = "foundry-eastus"
model = "microsoft-mai-image-2-5"
provider = "foundry"
upstream_model = "mai-image-2-5"
endpoint = "https://my-resource.services.ai.azure.com"
key_env = "KEY"
rpm = 6
cost_usd = "0.033"
auth = "key"
cold_start = "fresh"
max_attempts = 7
max_in_flight = 32
quota_group = "eastus"
order = 2
spill_after_seconds = 4
window_seconds = 60
pace = false
guard_ms = 300
timeout_seconds = 170
retry_ambiguous = false
callbacks = false
most_pixels = 2_359_296
shortest_side = 512
refused_fields = ["quality", "output_format"]
"""
"""As docs/design/contract.md ("Catalog") has it, with other values than the defaults."""


def test_every_key_of_the_contract_is_read(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(CONTRACT)
    catalog = load_catalog(path, ENVIRONMENT, PROVIDERS)
    (model,), (deployment,) = catalog.models, catalog.deployments
    assert model == Model(
        id="microsoft-mai-image-2-5",
        aliases=("microsoft/mai-image-2.5", "MAI-Image-2.5"),
        operations=("generate", "edit"),
        price_usd=Decimal("0.039"),
    )
    written = tomllib.loads(CONTRACT)["deployments"][0] | {
        "cost_usd": Decimal("0.033"),
        "refused_fields": ("quality", "output_format"),
    }
    assert deployment.model_dump(include=set(written)) == written
    assert catalog.rpm(deployment) == 6
    assert catalog.secret(deployment) == "the key"
    group = catalog.quota_groups["eastus"]
    assert (group.rpm, group.window_seconds, group.guard_ms, group.pace) == (6, 60, 300, False)
    assert catalog.model("mai-image-2.5") is catalog.model("MICROSOFT-mai-image-2-5") is model


INF, NAN = float("inf"), float("nan")
AMOUNTS: list[object] = [
    True,
    "nan",
    "inf",
    NAN,
    INF,
    -1,
    "-0.1",
    "1e30",
    1e30,
    "1e-3",
    "1_0",
    " 1",
    "",
    "free",
]
AMOUNTS.extend(["1000000000", "0.0000000001", "0.0390000000000001", 10**40, ["1"], {"usd": 1}])
WRONG_IN_DEPLOYMENTS: dict[str, list[object]] = {
    "name": ["", "a b", 7, "x" * 101, "ü"],
    "model": ["mai-image-3", "", 2],
    "provider": ["bedrock", "Foundry", "", 1],
    "upstream_model": ["", " ", 5],
    "endpoint": ["my-resource.example", "ftp://my-resource.example", "https://", "https://a b", 1],
    "key_env": ["", "MISSING", "EMPTY", "sk-0123456789", 1, True],
    "rpm": [True, "6", 6.0, 0, -1, 100_001, INF, NAN, None],
    "cost_usd": AMOUNTS,
    "auth": ["", "none", True],
    "cold_start": ["warm", False],
    "max_attempts": [0, 101, True, "6", 6.0],
    "max_in_flight": [0, True, "32", 32.0],
    "quota_group": ["", 1],
    "order": ["1", 1.0, True],
    "spill_after_seconds": [-1, INF, NAN, "5", True],
    "window_seconds": [0, -60, INF, NAN, 1e300, "60", True],
    "pace": ["yes", 1, 0, "true"],
    "guard_ms": [-1, 60_001, 400.0, "400", True],
    "timeout_seconds": [0, 3601, INF, NAN, "180", True],
    "retry_ambiguous": ["no", 1],
    "most_pixels": [0, -1, True, "2359296", 2359296.0, 1_048_575, 4_194_305],
    "shortest_side": [0, 63, 1025, True, "768", 768.0],
    "refused_fields": ["quality", ["prompt"], ["quality", "quality"], [1], {}, True],
    "api": ["", "responses", 1],
    "modalities": ["image", [], ["video"], ["image", "image"], True],
    "colour": ["red"],
}
WRONG_IN_MODELS: dict[str, list[object]] = {
    "id": ["", "MAI", "a/b", "-a", 1],
    "aliases": [[""], [" "], [1], "mai", [["a"]], {"a": "b"}, ["a", "a"], ["a", "A"], ["mai-image-2"]],
    "operations": [[], ["generate", "generate"], ["draw"], "generate", [1], {}],
    "price_usd": AMOUNTS,
    "enabled": ["yes", 1],
    "price": ["0.1"],
}


def _cases(wrong: dict[str, list[object]]) -> list[Any]:
    return [
        pytest.param(key, value, id=f"{key}={value!r:.30}")
        for key, values in wrong.items()
        for value in values
    ]


@pytest.mark.parametrize(("key", "value"), _cases(WRONG_IN_DEPLOYMENTS))
def test_a_wrong_value_of_a_deployment_is_refused_with_its_place(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        deployment_with(**{key: value})
    entry = "deployments" if key == "name" else "deployments 'east'"
    assert re.match(rf"{entry}.*: .*{key}", refused.value.message), refused.value.message


@pytest.mark.parametrize(("key", "value"), _cases(WRONG_IN_MODELS))
def test_a_wrong_value_of_a_model_is_refused_with_its_place(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        model_with(**{key: value})
    entry, place = ("models", key) if key == "id" else ("models '", key.removesuffix("es"))
    assert re.match(rf"{entry}.*: .*{place}", refused.value.message), refused.value.message


def test_a_key_in_the_place_of_its_variables_name_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as refused:
        deployment_with(key_env="sk-0123456789")
    assert "0123456789" not in refused.value.message


TWO_KEYS = CONTRACT + CONTRACT[CONTRACT.index("[[deployments]]") :].replace(
    "foundry-eastus", "other"
).replace('"KEY"', '"OTHER_KEY"').replace('"eastus"', '"other"')


@pytest.mark.parametrize(
    ("environment", "calls_upstreams", "missing"),
    [
        ({}, False, None),
        ({"KEY": ""}, False, None),
        ({"KEY": "a", "OTHER_KEY": "b"}, False, None),
        ({"KEY": "a", "OTHER_KEY": "b"}, True, None),
        ({"KEY": "a"}, False, "OTHER_KEY"),
        ({"KEY": "a"}, True, "OTHER_KEY"),
        ({}, True, "KEY"),
    ],
)
def test_only_a_process_that_makes_no_calls_may_be_without_all_keys(
    tmp_path: Path, environment: dict[str, str], *, calls_upstreams: bool, missing: str | None
) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(TWO_KEYS)
    expected = pytest.raises(ConfigurationError, match=f"variable {missing} is not set")
    with expected if missing else nullcontext():
        load_catalog(path, environment, PROVIDERS, calls_upstreams=calls_upstreams)


@pytest.mark.parametrize("missing", ["name", "model", "provider", "upstream_model", "endpoint", "key_env"])
def test_a_missing_key_of_a_deployment_is_named(missing: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"deployments.*{missing}"):
        deployment_with(**{missing: None})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tier": 3}, "either rpm or tier"),
        ({"rpm": None, "tier": 0}, "tier 0"),
        ({"rpm": None, "tier": 7}, "tier"),
        ({"rpm": None, "tier": 3.0}, "tier"),
        ({"rpm": None, "tier": True}, "tier"),
        ({"rpm": None, "tier": "3"}, "tier"),
        ({"rpm": None, "tier": 3, "provider": "aiml"}, "tier is for Foundry"),
        ({"auth": "entra", "provider": "aiml"}, "entra.*Foundry"),
        ({"most_pixels": 2_359_296, "provider": "aiml"}, "most_pixels.*Foundry"),
        ({"shortest_side": 512, "provider": "aiml"}, "shortest_side.*Foundry"),
        ({"api": "chat"}, "api.*OpenRouter"),
        ({"modalities": ["image"]}, "modalities.*OpenRouter"),
        ({"modalities": ["text"], "provider": "openrouter"}, "modalities must have"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"deployments 'east': .*{complaint}"):
        deployment_with(**changes)


def test_the_keys_of_openrouter_are_read() -> None:
    made = deployment_with(provider="openrouter", api="images", modalities=["image"])
    assert (made.api, made.modalities) == ("images", ("image",))


def test_a_provider_that_nobody_wrote_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'east': provider: there is no provider 'bedrock'.*aiml, foundry"
    ):
        deployment_with(provider="bedrock")


def test_names_are_used_once_whatever_the_case() -> None:
    other = MODEL | {"id": "other", "aliases": ["MAI-image-2"]}
    with pytest.raises(ConfigurationError, match=r"models 'mai-image-2': .*twice"):
        parsed(models=(MODEL, other))
    with pytest.raises(ConfigurationError, match=r"deployments 'east': .*twice"):
        parsed(deployments=(DEPLOYMENT, DEPLOYMENT))


def test_a_quota_group_is_described_once() -> None:
    shared = DEPLOYMENT | {"quota_group": "both"}
    assert parsed(deployments=(shared, shared | {"name": "west"})).quota_groups.keys() == {"both"}
    with pytest.raises(ConfigurationError, match="'east': quota_group: 'both' is described differently"):
        parsed(deployments=(shared, shared | {"name": "west", "rpm": 7}))


@pytest.mark.parametrize("table", ["models", "deployments"])
@pytest.mark.parametrize("text", ['{} = "x"', "{} = 5", "[{}]\nid = 'x'", "{} = ['x', 'y']", "{} = [[1]]"])
def test_tables_of_another_form_are_refused_by_name(tmp_path: Path, table: str, text: str) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(text.format(table))
    with pytest.raises(ConfigurationError) as refused:
        load_catalog(path, ENVIRONMENT, PROVIDERS)
    assert refused.value.message.startswith(f"Catalog {path}: {table}")


def test_an_entry_without_a_name_is_named_by_its_number() -> None:
    with pytest.raises(ConfigurationError, match="deployments, entry 2: name"):
        parsed(deployments=(DEPLOYMENT, {"rpm": 6}))


@pytest.mark.parametrize(
    "content",
    [b"models = [", b"\xff", b"x = " + b"[" * 5000, b"x = " + b"9" * 5000, b"colours = 1\n", b"\0"],
)
def test_what_cannot_be_read_is_refused_with_the_files_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "catalog.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load_catalog(path, ENVIRONMENT, PROVIDERS)
    assert refused.value.message.startswith(f"Catalog {path}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Catalog .*none\.toml: .*No such file"):
        load_catalog(tmp_path / "none.toml", ENVIRONMENT, PROVIDERS)


def test_an_upstream_calls_back_only_where_that_is_asked_for_and_can_be_had() -> None:
    assert deployment_with(provider="poster").callbacks is False
    assert deployment_with(provider="poster", callbacks=True).callbacks is True
    with pytest.raises(ConfigurationError, match=r"'east': callbacks: 'foundry' does not .*: poster"):
        deployment_with(callbacks=True)
