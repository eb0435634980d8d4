"""`imagequeue deployments`: rate, tokens out, next start, breaker, drift and last error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from sqlalchemy import Engine
from typer.testing import CliRunner

from cli.deployments import deployments
from cli.output import console
from tests.builders import MODEL
from tests.pipeline import RunningPipeline

app = typer.Typer()
app.command()(deployments)

DEPLOYMENT = f"""
[[deployments]]
name = "{{name}}"
model = "{MODEL}"
provider = "foundry"
upstream_model = "mine"
endpoint = "http://127.0.0.1:9"
key_env = "EAST_KEY"
rpm = {{rpm}}
"""
DRIFTS = """
UPDATE quota_groups SET effective_rpm = 900, drifts = 3, reason = 'Too many requests',
    blocked_until = clock_timestamp() + interval '1 hour'
WHERE name = 'foundry-test'
"""
OUT_OF_QUOTA = """
INSERT INTO quota_groups (name, rpm, effective_rpm, window_seconds, guard_seconds, out_of_quota)
VALUES ('penniless', 4, 4, 60, 0.4, true)
"""
BROKEN = """
INSERT INTO deployment_states (name, failures, misconfigured, reason, opened_at, blocked_until)
VALUES ('locked', 1, true, 'Access denied', clock_timestamp(), clock_timestamp() + interval '1 hour'),
    ('broken', 5, false, 'It answered 500', clock_timestamp(), clock_timestamp() + interval '1 hour')
"""
Run = Callable[..., str]


@pytest.fixture
def run(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Run]:
    """Runs the command over a deployment with three tokens out, and four that did not do well."""
    path = tmp_path / "catalog.toml"
    entries = {"foundry-test": 1000, "locked": 6, "broken": 6, "penniless": 4}
    path.write_text(
        f'[[models]]\nid = "{MODEL}"\nprice_usd = "0.036"\n'
        + "".join(DEPLOYMENT.format(name=name, rpm=rpm) for name, rpm in entries.items())
    )
    environment = {
        "IMAGEQUEUE_DATABASE_URL": database_url,
        "IMAGEQUEUE_CATALOG": str(path),
        "EAST_KEY": "the key",
    }

    def invoked(*words: str, status: int = 0, **more: str) -> str:
        result = CliRunner().invoke(app, words, env=environment | more)
        assert result.exit_code == status, result.output
        return result.output

    with RunningPipeline(engine, database_url, tmp_path) as pipeline:
        pipeline.submit(3)
        pipeline.dispatch.run_once()
        for statement in (DRIFTS, OUT_OF_QUOTA, BROKEN):
            pipeline.execute(statement)
        yield invoked


def test_programs_get_everything(run: Run) -> None:
    shown = {one["name"]: one for one in json.loads(run("--json"))["data"]}
    assert list(shown) == ["foundry-test", "locked", "broken", "penniless"]
    drifting = shown["foundry-test"]
    assert (drifting["rpm"], drifting["effective_rpm"], drifting["quota_drift"]) == (1000, 900, 3)
    assert (drifting["tokens_out"], drifting["in_flight"], drifting["breaker"]) == (3, 3, "closed")
    assert 3000 < drifting["next_start_in"] <= 3600
    assert drifting["last_error"] == "Too many requests"
    assert [shown[name]["breaker"] for name in ("locked", "broken")] == ["open", "open"]
    assert [shown[name]["misconfigured"] for name in ("locked", "broken")] == [True, False]
    assert shown["penniless"]["out_of_quota"] is True


def test_people_get_a_table(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 200)
    lines = run().splitlines()
    (head,) = [line for line in lines if "deployment" in line]
    assert [cell.strip() for cell in head.strip("┃ ").split("┃")] == [
        *("deployment", "order", "rpm", "tokens out", "next start", "in flight", "breaker", "drift"),
        "last error",
    ]
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in lines if line.startswith("│")]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["foundry-test"][:3] == ["1", "900 of 1000", "3"]
    assert float(cells["foundry-test"][3].removesuffix(" s")) > 3000
    assert cells["foundry-test"][4:] == ["3", "closed", "3", "Too many requests"]
    assert cells["locked"] == ["1", "6", "0", "-", "0", "open, misconfigured", "0", "Access denied"]
    assert cells["broken"] == ["1", "6", "0", "-", "0", "open", "0", "It answered 500"]
    assert cells["penniless"][5] == "out of quota"


def test_a_catalog_that_is_not_there_is_named(run: Run) -> None:
    assert "/none.toml: " in run(status=1, IMAGEQUEUE_CATALOG="/none.toml")


def test_a_database_that_is_away_is_one_line(run: Run) -> None:
    away = run(status=1, IMAGEQUEUE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert "database does not answer" in away
    assert len(away.splitlines()) == 1
