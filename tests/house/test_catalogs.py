"""The catalogs that come with the project can be loaded, and say what the others say."""

from __future__ import annotations

import re
import tomllib

from cli.stack_hooks import simulator_catalog
from imagequeue.domain.catalog import Deployment, Model
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.providers.registry import PROVIDERS
from simulator.config import DEMO_KEY, default_config
from tests.house.checkout import text

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


def test_the_example_and_the_built_in_catalog_have_the_same_models() -> None:
    built_in = tomllib.loads(simulator_catalog("http://127.0.0.1:1"))
    models = parse_catalog(built_in, {"SIMULATOR_KEY": DEMO_KEY}, PROVIDERS).models
    example = parse_catalog({"models": tomllib.loads(EXAMPLE)["models"]}, {}, PROVIDERS).models
    assert {(model.id, model.aliases, model.operations, model.price_usd) for model in example} == {
        (model.id, model.aliases, model.operations, model.price_usd) for model in models
    }


def test_what_compose_uses_is_the_built_in_catalog() -> None:
    assert tomllib.loads(FOR_COMPOSE) == tomllib.loads(simulator_catalog("http://simulator:9100"))


def test_the_simulator_serves_every_built_in_deployment() -> None:
    catalog = parse_catalog(tomllib.loads(FOR_COMPOSE), {"SIMULATOR_KEY": DEMO_KEY}, PROVIDERS)
    upstreams = default_config().upstreams
    for deployment in catalog.deployments:
        upstream = upstreams[deployment.endpoint.rpartition("/")[2]]
        assert upstream.provider == deployment.provider
        assert catalog.rpm(deployment) <= upstream.models[deployment.upstream_model].rpm
