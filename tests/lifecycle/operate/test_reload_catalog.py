"""A changed catalog is taken up by running processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PosixPath

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from imagequeue.domain.catalog_file import load_catalog
from imagequeue.domain.errors import ConfigurationError
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.lifecycle.operate.reload_catalog import CatalogWatch, ask_for_reload
from imagequeue.providers.registry import PROVIDERS
from imagequeue.runtime import Runtime
from tests import builders
from tests.pipeline import Pipeline, RunningPipeline

MODEL = f'[[models]]\nid = "{builders.MODEL}"\nprice_usd = "0.05"\n'
DEPLOYMENT = """
[[deployments]]
name = "{name}"
model = "microsoft-mai-image-2-5"
provider = "foundry"
upstream_model = "mai-image-2-5"
endpoint = "{url}/east"
key_env = "TEST_KEY"
rpm = {rpm}
cold_start = "fresh"
"""


@pytest.fixture
def changing(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Pipeline, Path]]:
    """A pipeline whose catalog is a file."""
    monkeypatch.setenv("TEST_KEY", "upstream-key")
    path = tmp_path / "catalog.toml"
    with RunningPipeline(engine, database_url, tmp_path) as made:
        path.write_text(MODEL + DEPLOYMENT.format(name="foundry-test", url=made.simulator.url, rpm=5))
        settings = made.runtime.settings.model_copy(update={"catalog": path})
        made.runtime.settings = settings
        made.runtime.catalog = load_catalog(path, os.environ, PROVIDERS)
        made.dispatch.eligibility = Eligibility(made.runtime.catalog)
        yield made, path


def test_every_process_takes_it_up_once(changing: tuple[Pipeline, Path]) -> None:
    pipeline, path = changing
    first, second = CatalogWatch(pipeline.runtime), CatalogWatch(pipeline.runtime)
    assert [first.run_once(), second.run_once()] == [0, 0]
    text = DEPLOYMENT.format(name="foundry-test", url=pipeline.simulator.url, rpm=7)
    path.write_text(MODEL.replace("0.05", "0.07") + text)
    ask_for_reload(pipeline.runtime)
    assert [first.run_once(), second.run_once(), first.run_once()] == [1, 1, 0]
    assert str(pipeline.runtime.catalog.model(builders.MODEL).price_usd) == "0.07"
    (group,) = pipeline.rows("SELECT rpm, effective_rpm FROM quota_groups WHERE name = 'foundry-test'")
    assert tuple(group) == (7, 7)


def test_a_hangup_of_one_process_reaches_all(changing: tuple[Pipeline, Path]) -> None:
    pipeline, _ = changing
    hung_up, other = CatalogWatch(pipeline.runtime), CatalogWatch(pipeline.runtime)
    assert [hung_up.run_once(), other.run_once()] == [0, 0]
    hung_up.hung_up.set()
    assert [hung_up.run_once(), other.run_once(), hung_up.run_once(), other.run_once()] == [1, 1, 0, 0]


def test_what_is_asked_for_between_the_start_and_the_first_look_is_taken_up(
    changing: tuple[Pipeline, Path],
) -> None:
    pipeline, path = changing  # its catalog is loaded
    path.write_text(path.read_text().replace("0.05", "0.07"))
    ask_for_reload(pipeline.runtime)
    watch = CatalogWatch(pipeline.runtime)
    assert [watch.run_once(), watch.run_once()] == [1, 0]
    assert str(pipeline.runtime.catalog.model(builders.MODEL).price_usd) == "0.07"


def test_what_the_database_could_not_take_is_tried_again(changing: tuple[Pipeline, Path]) -> None:
    pipeline, path = changing
    watch = CatalogWatch(pipeline.runtime)
    assert watch.run_once() == 0
    path.write_text(path.read_text().replace("0.05", "0.07"))
    watch.hung_up.set()
    for table in ("catalog_reloads", "deployment_states"):  # to ask, then to take up
        pipeline.execute(f"ALTER TABLE {table} RENAME TO away")
        with pytest.raises(DBAPIError):
            watch.run_once()
        pipeline.execute(f"ALTER TABLE away RENAME TO {table}")
    assert [watch.run_once(), watch.run_once()] == [1, 0]
    assert str(pipeline.runtime.catalog.model(builders.MODEL).price_usd) == "0.07"


class Cursed(PosixPath):
    """A file that fails in a way that nobody has thought of."""

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        raise LookupError(encoding, errors)


def test_the_loop_survives_whatever_a_file_raises(changing: tuple[Pipeline, Path]) -> None:
    pipeline, path = changing
    runtime, before = pipeline.runtime, pipeline.runtime.catalog
    watch = CatalogWatch(runtime)
    assert watch.run_once() == 0
    catalog_reloads_before = pipeline.rows("SELECT count(*) FROM catalog_reloads")
    for wrong in ("models = 5\n", "[models]\n", "\0", MODEL + MODEL):
        path.write_text(wrong)
        watch.hung_up.set()
        assert watch.run_once() == 0
    runtime.settings = runtime.settings.model_copy(update={"catalog": Cursed(path)})
    watch.hung_up.set()
    assert watch.run_once() == 0
    assert pipeline.rows("SELECT count(*) FROM catalog_reloads") == catalog_reloads_before
    assert runtime.catalog is before


def test_a_wrong_file_changes_nothing(changing: tuple[Pipeline, Path]) -> None:
    pipeline, path = changing
    watch = CatalogWatch(pipeline.runtime)
    before = pipeline.runtime.catalog
    path.write_text(path.read_text() + "pacee = true\n")
    with pytest.raises(ConfigurationError, match=r"foundry-test.*pacee"):
        ask_for_reload(pipeline.runtime)
    watch.hung_up.set()
    assert watch.run_once() == 0
    assert pipeline.runtime.catalog is before


def test_calls_in_flight_finish_where_they_began(changing: tuple[Pipeline, Path]) -> None:
    pipeline, path = changing
    (begun,) = pipeline.submit(1)
    assert pipeline.dispatch.run_once() == 1
    path.write_text(MODEL + DEPLOYMENT.format(name="other", url=pipeline.simulator.url, rpm=5))
    watch = CatalogWatch(pipeline.runtime)
    watch.hung_up.set()
    assert watch.run_once() == 1
    pipeline.answer()
    assert pipeline.status(begun) == "COMPLETED"
    pipeline.dispatch.eligibility = Eligibility(pipeline.runtime.catalog)
    (later,) = pipeline.submit(1)
    pipeline.run()
    assert pipeline.status(later) == "COMPLETED"
    rows = pipeline.rows("SELECT deployment FROM attempts ORDER BY id")
    assert [row.deployment for row in rows] == ["foundry-test", "other"]


def test_a_changed_entry_is_tried_again_at_once(changing: tuple[Pipeline, Path]) -> None:
    pipeline, path = changing
    pipeline.execute("""
        INSERT INTO deployment_states (name, failures, misconfigured, opened_at, blocked_until)
        VALUES ('foundry-test', 3, true, clock_timestamp(), 'infinity')
    """)
    path.write_text(MODEL + DEPLOYMENT.format(name="foundry-test", url=pipeline.simulator.url, rpm=6))
    watch = CatalogWatch(pipeline.runtime)
    watch.hung_up.set()
    assert watch.run_once() == 1
    assert not pipeline.rows("SELECT 1 FROM deployment_states")


def test_the_second_process_forgets_no_failure_that_the_changed_entry_has_met(
    changing: tuple[Pipeline, Path],
) -> None:
    pipeline, path = changing
    first, second = CatalogWatch(pipeline.runtime, seen=0), CatalogWatch(_twin(pipeline), seen=0)
    path.write_text(path.read_text().replace("rpm = 5", "rpm = 6"))
    ask_for_reload(pipeline.runtime)
    assert first.run_once() == 1
    pipeline.execute("""
        INSERT INTO deployment_states (name, failures, opened_at, blocked_until)
        VALUES ('foundry-test', 3, clock_timestamp(), 'infinity')
    """)
    assert second.run_once() == 1
    assert pipeline.rows("SELECT failures FROM deployment_states") == [(3,)]


@pytest.mark.parametrize("out_of_quota", [False, True])
def test_a_raised_quota_ends_the_block_of_a_429_and_another_one_stays(
    changing: tuple[Pipeline, Path],
    *,
    out_of_quota: bool,
) -> None:
    pipeline, path = changing
    first, second = CatalogWatch(pipeline.runtime, seen=0), CatalogWatch(_twin(pipeline), seen=0)
    block = """
        UPDATE quota_groups SET throttled_in_a_row = 1, out_of_quota = :out_of_quota,
            throttled_at = clock_timestamp(), blocked_until = clock_timestamp() + interval '1 hour'
    """
    pipeline.execute("UPDATE quota_groups SET rpm = 5, effective_rpm = 5")
    pipeline.execute(block, out_of_quota=out_of_quota)
    path.write_text(path.read_text().replace("rpm = 5", "rpm = 60"))
    ask_for_reload(pipeline.runtime)
    assert first.run_once() == 1
    pipeline.submit()
    assert pipeline.dispatch.run_once() == 1
    pipeline.execute(block, out_of_quota=out_of_quota)
    assert second.run_once() == 1
    pipeline.submit()
    assert pipeline.dispatch.run_once() == 0, "the second process ended the block of a later 429"


@pytest.mark.parametrize("rpm", [4, 5])
def test_a_quota_that_is_not_raised_leaves_the_block_standing(
    changing: tuple[Pipeline, Path], rpm: int
) -> None:
    pipeline, path = changing
    pipeline.execute("""
        UPDATE quota_groups SET rpm = 5, effective_rpm = 5,
            throttled_in_a_row = 1, throttled_at = clock_timestamp(),
            blocked_until = clock_timestamp() + interval '1 hour' WHERE name = 'foundry-test'
    """)
    path.write_text(path.read_text().replace("rpm = 5", f"rpm = {rpm}\ntimeout_seconds = 100"))
    ask_for_reload(pipeline.runtime)
    assert CatalogWatch(pipeline.runtime, seen=0).run_once() == 1
    pipeline.submit()
    assert pipeline.dispatch.run_once() == 0


@pytest.mark.parametrize(("cold_start", "starts"), [("spent", 0), ("fresh", 1)])
@pytest.mark.parametrize("how", ["comes back", "gains a deployment", "takes one over"])
def test_a_group_begins_again_as_its_cold_start_says(
    changing: tuple[Pipeline, Path], how: str, cold_start: str, starts: int
) -> None:
    pipeline, path = changing
    url = pipeline.simulator.url
    ours = DEPLOYMENT.replace('"fresh"', f'"{cold_start}"') + 'quota_group = "shared"\n'
    first, alone = ours.format(name="first", url=url, rpm=5), DEPLOYMENT.format(name="alone", url=url, rpm=5)
    second = ours.format(name="second", url=url, rpm=5)
    before, after = {
        "comes back": (alone, first),
        "gains a deployment": (first, first + second),
        "takes one over": (
            first + alone,
            first + alone.replace('"fresh"', f'"{cold_start}"') + 'quota_group = "shared"\n',
        ),
    }[how]
    watch, twin = CatalogWatch(pipeline.runtime, seen=0), CatalogWatch(_twin(pipeline), seen=0)
    for content in (first, before, after):
        path.write_text(MODEL + content)
        ask_for_reload(pipeline.runtime)
        assert watch.run_once() == 1
        if content is before:
            pipeline.execute("UPDATE quota_groups SET blocked_until = NULL")  # time has passed
    (block,) = pipeline.rows("SELECT blocked_until FROM quota_groups WHERE name = 'shared'")
    assert twin.run_once() == 1
    assert pipeline.rows("SELECT blocked_until FROM quota_groups WHERE name = 'shared'") == [block]
    pipeline.dispatch.eligibility = Eligibility(pipeline.runtime.catalog)
    pipeline.execute("UPDATE quota_groups SET blocked_until = 'infinity' WHERE name <> 'shared'")
    pipeline.submit()
    assert pipeline.dispatch.run_once() == starts


def _twin(pipeline: Pipeline) -> Runtime:
    """Another process's runtime, with the same catalog."""
    return replace(pipeline.runtime)
