"""The catalogs that come with the project can be loaded, and say what the others say."""

from __future__ import annotations

import re
import tomllib

import pytest

from cli.stack_hooks import simulator_catalog
from imagequeue.domain.catalog import Deployment, Model
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.domain.images import Requirement, Shape
from imagequeue.providers.registry import PROVIDERS
from simulator.config import DEMO_KEY, default_config
from tests.house.checkout import text
from tests.providers.matrix import RATIOS

EXAMPLE = text("catalog.toml")
FOR_COMPOSE = text("catalog.simulator.toml")


def test_the_example_is_right_once_its_keys_are_set() -> None:
    tables = tomllib.loads(EXAMPLE)
    variables = {entry["key_env"] for entry in tables["deployments"] if "key_env" in entry}
    catalog = parse_catalog(tables, dict.fromkeys(variables, "a key"), PROVIDERS)
    shown = {deployment.provider for deployment in catalog.deployments}
    assert {"foundry", "aiml", "openrouter", "omixa", "pixazo"} <= shown
    assert all(catalog.deployments_of(model.id) for model in catalog.models)


def test_the_example_explains_every_key() -> None:
    for kind in (Model, Deployment):
        for field in kind.model_fields:
            assert re.search(rf"^(# )?{field} = .*", EXAMPLE, re.MULTILINE) or field == "rpm", field
    assert "or rpm = " in EXAMPLE


def test_the_example_has_the_models_of_the_built_in_catalog_and_newer_ones() -> None:
    built_in = tomllib.loads(simulator_catalog("http://127.0.0.1:1"))
    models = parse_catalog(built_in, {"SIMULATOR_KEY": DEMO_KEY}, PROVIDERS).models
    example = parse_catalog({"models": tomllib.loads(EXAMPLE)["models"]}, {}, PROVIDERS).models
    documented = [model for model in example if _says(model) in set(map(_says, models))]
    assert set(map(_says, documented)) == set(map(_says, models))
    after = EXAMPLE.partition("do not have")[2]
    newer = [model.id for model in example if model not in documented]
    assert newer
    assert all(f'id = "{name}"' in after for name in newer), "marked as not in the documents"


def _says(model: Model) -> tuple[object, ...]:
    return (model.id, model.aliases, model.operations, model.price_usd)


def test_no_catalog_and_no_simulator_names_a_dead_model() -> None:
    dead = ("gpt-image-1", "dall-e")
    shown = {
        line for line in (EXAMPLE + FOR_COMPOSE).splitlines() if not line.rpartition("#")[2].count("gone")
    }
    assert not [line for line in shown if any(name in line for name in dead)]
    models = {name for upstream in default_config().upstreams.values() for name in upstream.models}
    assert not models.intersection(dead)


@pytest.mark.parametrize("model", ["microsoft-mai-image-2-6", "microsoft-mai-image-2-6-flash"])
def test_every_ratio_is_served_by_the_newer_models_of_the_example(model: str) -> None:
    tables = tomllib.loads(EXAMPLE)
    keys = dict.fromkeys([entry["key_env"] for entry in tables["deployments"] if "key_env" in entry], "a key")
    for deployment in parse_catalog(tables, keys, PROVIDERS).deployments_of(model):
        for ratio in RATIOS:
            assert PROVIDERS["foundry"].refusal(Requirement(shape=Shape.parse(ratio)), deployment) is None


def test_what_compose_uses_is_the_built_in_catalog() -> None:
    assert tomllib.loads(FOR_COMPOSE) == tomllib.loads(simulator_catalog("http://simulator:9100"))


def test_the_simulator_serves_every_built_in_deployment() -> None:
    catalog = parse_catalog(tomllib.loads(FOR_COMPOSE), {"SIMULATOR_KEY": DEMO_KEY}, PROVIDERS)
    upstreams = default_config().upstreams
    for deployment in catalog.deployments:
        upstream = upstreams[deployment.endpoint.rpartition("/")[2]]
        assert upstream.provider == deployment.provider
        assert catalog.rpm(deployment) <= upstream.models[deployment.upstream_model].rpm
