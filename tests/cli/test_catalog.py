"""`imagequeue catalog check` and `catalog reload`, run as programs would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from cli.catalog import app
from imagequeue.store.database import open_engine
from tests.builders import SECRET_KEY, count
from tests.eventually import eventually
from tests.worker.running import PROGRAM, running_process

CATALOG = """
[[models]]
id = "mai-image-2"
price_usd = "0.036"

[[deployments]]
name = "east"
model = "mai-image-2"
provider = "foundry"
upstream_model = "mine"
endpoint = "https://my-resource.services.ai.azure.com"
key_env = "EAST_KEY"
tier = 3

[[deployments]]
name = "elsewhere"
model = "mai-image-2"
provider = "aiml"
upstream_model = "microsoft/mai-image-2"
endpoint = "https://api.aimlapi.com"
key_env = "EAST_KEY"
rpm = 5
window_seconds = 30
"""
Run = Callable[..., Result]


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.toml"
    path.write_text(CATALOG)
    return path


@pytest.fixture
def run(database_url: str, catalog: Path) -> Run:
    environment = {
        "IMAGEQUEUE_DATABASE_URL": database_url,
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
        "EAST_KEY": "the key",
    }

    def invoked(*words: str, **more: str) -> Result:
        result = CliRunner().invoke(app, words, env=environment | more)
        assert not result.exception or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoked


def test_check_tells_what_is_in_the_file(run: Run, catalog: Path) -> None:
    result = run("check", str(catalog))
    assert result.exit_code == 0, result.output
    assert result.output.strip() == (f"{catalog}: 1 models, 2 deployments, 2 quota groups, 40 calls a minute")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("tier = 3", "tier = 3.0", "deployments 'east': tier: "),
        ('"0.036"', '"free"', "models 'mai-image-2': price_usd: "),
        ('"aiml"', '"bedrock"', "deployments 'elsewhere': provider: there is no provider 'bedrock'"),
        ("[[models]]", "[models]", "models: write [[models]]"),
        ("EAST_KEY", "MISSING_KEY", "key_env: the environment variable MISSING_KEY is not set"),
    ],
)
def test_check_names_a_mistake_in_one_line(
    run: Run, catalog: Path, old: str, new: str, complaint: str
) -> None:
    catalog.write_text(CATALOG.replace(old, new))
    result = run("check", str(catalog))
    assert result.exit_code == 1
    assert result.output.startswith(f"imagequeue: Catalog {catalog}: {complaint}"[:60])
    assert complaint in result.output
    assert len(result.output.splitlines()) == 1


def test_check_of_a_file_that_is_not_there_is_one_line(run: Run, tmp_path: Path) -> None:
    result = run("check", str(tmp_path / "none.toml"))
    assert result.exit_code == 1
    assert "No such file" in result.output
    assert len(result.output.splitlines()) == 1


def test_reload_asks_every_process(run: Run, engine: Engine) -> None:
    result = run("reload")
    assert result.exit_code == 0, result.output
    assert "2 deployments" in result.output
    assert count(engine, "catalog_reloads") == 1


def test_reload_of_a_wrong_file_asks_nobody(run: Run, catalog: Path, engine: Engine) -> None:
    catalog.write_text(CATALOG.replace("rpm = 5", "rpm = true"))
    result = run("reload")
    assert result.exit_code != 0
    assert "deployments 'elsewhere': rpm: " in result.output
    assert count(engine, "catalog_reloads") == 0


def test_reload_without_a_database_is_one_line(run: Run) -> None:
    result = run("reload", IMAGEQUEUE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert result.exit_code == 1
    assert "database does not answer" in result.output


def test_a_worker_without_the_keys_is_refused_unless_it_only_delivers(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "keyless.toml"
    path.write_text(CATALOG)
    for queues, ended in (("deliveries", 0), ("generate.backfill", 2)):
        command = [*PROGRAM, "worker", "--queues", queues]
        with running_process(
            command, database_url, redis_url, tmp_path, IMAGEQUEUE_CATALOG=str(path)
        ) as process:
            if not ended:
                _await_process(database_url)
                process.terminate()
            assert process.wait(120) == ended
    assert not (tmp_path / "media").exists()


def _await_process(database_url: str) -> None:
    engine = open_engine(database_url, pool_size=1, name="tests")
    eventually(lambda: count(engine, "processes"))
    engine.dispose()
