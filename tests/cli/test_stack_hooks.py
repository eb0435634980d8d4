"""What `up` asks of the program while it starts a stack."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from cli.stack_hooks import all_beat, check, first_key, schema_is_newest, simulator_catalog
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.domain.errors import ConfigurationError
from imagequeue.domain.ids import new_id
from imagequeue.domain.images import Requirement
from imagequeue.lifecycle.submit.routing import refusal
from imagequeue.providers.registry import PROVIDERS
from imagequeue.store.tables import processes
from simulator.config import DEMO_KEY, default_config
from tests.builders import SECRET_KEY


@pytest.fixture
def env(database_url: str, tmp_path: Path) -> dict[str, str]:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(simulator_catalog("http://127.0.0.1:1"))
    return {
        "IMAGEQUEUE_DATABASE_URL": database_url,
        "IMAGEQUEUE_REDIS_URL": "redis://127.0.0.1:1/0",
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
        "SIMULATOR_KEY": DEMO_KEY,
    }


def _beat(engine: Engine, pid: int, beat: int, age_seconds: int = 0) -> None:
    row: dict[str, Any] = {
        "id": new_id(),
        "kind": "worker",
        "host": socket.gethostname(),
        "pid": pid,
        "queues": [],
        "slots": 1,
    }
    with engine.begin() as connection:
        connection.execute(insert(processes), [row | {"beat": beat}])
        connection.execute(
            text("UPDATE processes SET beat_at = now() - make_interval(secs => :age) WHERE id = :id"),
            {"age": age_seconds, "id": row["id"]},
        )


def test_the_built_in_catalog_is_right_and_known_to_the_simulator(env: dict[str, str]) -> None:
    check(env)
    catalog = load_catalog(Path(env["IMAGEQUEUE_CATALOG"]), env, PROVIDERS)
    for deployment in catalog.deployments:
        name = deployment.endpoint.removeprefix("http://127.0.0.1:1/")
        upstream = default_config().upstreams[name]
        model = upstream.models[deployment.upstream_model]
        assert (upstream.provider, model.rpm) == (deployment.provider, deployment.rpm)
        assert (deployment.cold_start, deployment.cost_usd) == ("fresh", model.cost_usd)


def test_all_five_upstreams_stand_behind_one_model_and_four_of_them_edit(env: dict[str, str]) -> None:
    catalog = load_catalog(Path(env["IMAGEQUEUE_CATALOG"]), env, PROVIDERS)
    deployments = catalog.deployments_of("microsoft-mai-image-2-5")
    five = {"foundry", "aiml", "openrouter", "omixa", "pixazo"}
    assert {deployment.provider for deployment in deployments} == five
    edit = Requirement(operation="edit", input_count=1)
    editing = {deployment.provider for deployment in deployments if not refusal(deployment, edit)}
    assert editing == five - {"aiml"}


def test_a_wrong_catalog_is_refused_before_anything_starts(env: dict[str, str]) -> None:
    with Path(env["IMAGEQUEUE_CATALOG"]).open("a") as file:
        file.write('\n[[models]]\nid = "more"\nprice = "1"\n')
    with pytest.raises(ConfigurationError, match="price"):
        check(env)


def test_a_database_that_is_away_is_left_to_the_migration_to_tell(env: dict[str, str]) -> None:
    assert schema_is_newest(env)
    assert not schema_is_newest(env | {"IMAGEQUEUE_DATABASE_URL": "postgresql://127.0.0.1:1/none"})


def test_the_first_key_is_made_once(env: dict[str, str]) -> None:
    told = first_key(env)
    assert told is not None
    assert "iq_" in told
    assert first_key(env) is None


def test_all_have_beaten_only_when_each_has(env: dict[str, str], engine: Engine) -> None:
    _beat(engine, 101, 1)
    _beat(engine, 102, 0)
    assert not all_beat(env, [101, 102])
    assert all_beat(env, [101])
    _beat(engine, 102, 3)
    assert all_beat(env, [101, 102])


def test_a_beat_of_long_ago_is_another_processs(env: dict[str, str], engine: Engine) -> None:
    _beat(engine, os.getpid(), 9, age_seconds=60)
    assert not all_beat(env, [os.getpid()])


def test_a_database_that_is_away_has_seen_nobody(env: dict[str, str]) -> None:
    assert not all_beat(env | {"IMAGEQUEUE_DATABASE_URL": "postgresql://127.0.0.1:1/none"}, [1])
