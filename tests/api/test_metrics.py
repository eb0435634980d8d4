"""`/metrics` after real jobs: every family that operators were promised, with the right values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.app import create_app
from cli.stack.servers.port import free
from imagequeue import wiring
from imagequeue.domain.jobs import Lane
from imagequeue.store.attempts.quota import ensure_groups
from tests.api.service import Service, serving
from tests.builders import MODEL, account
from tests.lifecycle.deliver.by_hand import deliver_once
from tests.loopback import NO_TLS
from tests.pipeline import Pipeline, RunningPipeline
from tests.servers import ServerThread

Samples = dict[tuple[str, ...], float]


class Scraper:
    """What one API process tells an operator."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = f"{url}/metrics", key

    def scrape(self) -> dict[str, Samples]:
        """By name: the values by the labels' values, in the order of the labels' names."""
        found: dict[str, Samples] = {}
        text = (
            httpx.get(self._url, headers={"api-key": self._key}, timeout=120, verify=NO_TLS)
            .raise_for_status()
            .text
        )
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                found.setdefault(sample.name.removeprefix("imagequeue_"), {})[labels] = sample.value
        return found


@pytest.fixture
def receiver() -> Iterator[str]:
    async def take(request: Request) -> Response:
        await request.body()
        return Response("thank you")

    with ServerThread(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as server:
        yield server.url


@pytest.fixture
def pipeline(engine: Engine, database_url: str, tmp_path: Path, receiver: str) -> Iterator[Pipeline]:
    with RunningPipeline(engine, database_url, tmp_path, allow=receiver.removeprefix("http://")) as running:
        yield running


@pytest.fixture
def scrapers(pipeline: Pipeline) -> Iterator[list[Scraper]]:
    """Two processes of the API."""
    _, key = account(pipeline.runtime.engine, "operator", "0", operator=True)
    with (
        ServerThread(create_app(pipeline.runtime)) as one,
        ServerThread(create_app(pipeline.runtime)) as other,
    ):
        yield [Scraper(server.url, key.key) for server in (one, other)]


def deliver(pipeline: Pipeline) -> None:
    assert deliver_once(pipeline.runtime) == 1


def test_every_family_is_right_after_real_jobs(
    pipeline: Pipeline, scrapers: list[Scraper], receiver: str
) -> None:
    pipeline.submit(webhook_url=f"{receiver}/hook")
    pipeline.run()
    deliver(pipeline)
    pipeline.submit(webhook_url=f"{receiver}/hook")
    pipeline.run()
    pipeline.submit(2)
    pipeline.submit(lane=Lane.BACKFILL)
    told = scrapers[0].scrape()
    group = ("foundry-test",)
    assert told["jobs_total"] == {
        ("QUEUED",): 5,
        ("PROCESSING",): 2,
        ("COMPLETED",): 2,
        ("FAILED",): 0,
        ("ERROR",): 0,
    }
    assert told["jobs_live"] == {("QUEUED",): 3, ("PROCESSING",): 0}
    waiting = {("interactive", MODEL, "QUEUED"): 2, ("backfill", MODEL, "QUEUED"): 1}
    assert told["queue_depth"] == waiting
    assert told["queue_age_seconds"].keys() == waiting.keys()
    assert all(age >= 0 for age in told["queue_age_seconds"].values())
    assert told["attempts_recent"] == {("foundry-test", "SUCCEEDED"): 2}
    assert told["call_seconds_recent"].keys() == {
        ("foundry-test", quantile, "SUCCEEDED") for quantile in ("0.5", "0.95")
    }
    assert all(0 < seconds < 60 for seconds in told["call_seconds_recent"].values())
    assert told["throttled_total"][group] == told["quota_drift_total"][group] == 0
    assert told["quota_tokens_out"][group] == 2
    assert told["deployment_in_flight"][group] == 0
    assert told["deliveries_pending"] == {(): 1}
    assert told["deliveries_dead"] == {(): 0}
    assert told["delivery_attempts_recent"] == {("http_200",): 1}
    assert told["wallets_usd"] == {
        ("available",): pytest.approx(1000 - 5 * 0.039),
        ("held",): pytest.approx(3 * 0.039),
        ("spent",): pytest.approx(2 * 0.039),
    }


def test_a_429_is_counted_where_it_came_from(pipeline: Pipeline, scrapers: list[Scraper]) -> None:
    pipeline.fault(kind="status", status=429, count=1)
    pipeline.submit()
    pipeline.run()
    told = scrapers[0].scrape()
    assert told["throttled_total"][("foundry-test",)] == 1
    assert told["quota_drift_total"][("foundry-test",)] == 1
    assert told["attempts_recent"] == {("foundry-test", "SUCCEEDED"): 1, ("foundry-test", "THROTTLED"): 1}


def test_every_process_tells_the_same_whenever_it_is_asked(
    pipeline: Pipeline, scrapers: list[Scraper]
) -> None:
    early, late = scrapers
    assert set(early.scrape()["jobs_total"].values()) == {0}
    pipeline.submit(2)
    pipeline.run()
    first = early.scrape()["jobs_total"]
    replace(wiring.event_totals(pipeline.runtime), settled_seconds=0).run_once()
    assert late.scrape()["jobs_total"] == early.scrape()["jobs_total"] == first
    assert first[("COMPLETED",)] == 2


def test_metrics_tell_of_jobs_quota_and_money(service: Service) -> None:
    operator = service.client("operator", operator=True)
    with service.runtime.engine.begin() as connection:
        ensure_groups(connection, service.runtime.catalog.quota_groups.values())
    operator.generate()
    families = {one.name: one for one in text_string_to_metric_families(operator.http.get("/metrics").text)}
    (depth,) = families["imagequeue_queue_depth"].samples
    assert depth.labels["lane"] == "interactive"
    assert depth.labels["status"] == "QUEUED"
    assert depth.value == 1
    (age,) = families["imagequeue_queue_age_seconds"].samples
    assert 0 <= age.value < 60
    amounts = {one.labels["amount"]: one.value for one in families["imagequeue_wallets_usd"].samples}
    assert amounts["held"] == 0.039
    assert {one.value for one in families["imagequeue_quota_rpm"].samples} == {1000}
    assert "imagequeue_quota_drift" in families
    assert "imagequeue_throttled" in families


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_metrics_may_have_an_address_of_their_own(engine: Engine, database_url: str, host: str) -> None:
    """There they need no key, and `/metrics` of the API is gone."""
    address = f"{host}:{free()}"
    with serving(engine, database_url, metrics_addr=address) as service:
        assert "imagequeue_jobs_live" in httpx.get(f"http://{address}/metrics").text
        assert httpx.get(f"{service.url}/metrics").status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{address}/metrics")


def test_metrics_without_a_host_are_for_this_machine_alone(engine: Engine, database_url: str) -> None:
    port = free()
    with serving(engine, database_url, metrics_addr=f":{port}"):
        assert "imagequeue_jobs_live" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        with pytest.raises(httpx.ConnectError):  # a server on all interfaces would answer
            httpx.get(f"http://127.0.0.2:{port}/metrics")
