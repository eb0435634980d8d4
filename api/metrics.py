"""`/metrics` for Prometheus: read from the database in bulk, so every process of the API tells the same.

For operators' keys; with IMAGEQUEUE_METRICS_ADDR it is served there instead, without a key.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from wsgiref.simple_server import WSGIServer

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from api.answer_models import content
from api.auth import require_operator
from api.documented import OPERATORS, documented
from api.query import query
from api.services import services_of
from imagequeue.domain.breaker import Breaker
from imagequeue.domain.errors import ConfigurationError, NotFound
from imagequeue.domain.jobs import FINAL, JobStatus
from imagequeue.lifecycle.operate.report import DeploymentReport, report_deployments
from imagequeue.runtime import Runtime
from imagequeue.store import metrics, processes
from imagequeue.store.jobs import event_totals

log = structlog.get_logger()
router = APIRouter(tags=["Operators"])

_THIS_MACHINE = "127.0.0.1"

METRICS = content(CONTENT_TYPE_LATEST.partition(";")[0], {"type": "string"})


@router.get("/metrics", response_class=Response, **documented(METRICS, NotFound, needs=OPERATORS))
async def read_metrics(request: Request) -> Response:
    """All metrics in Prometheus's text format."""
    services = services_of(request)
    if services.runtime.settings.metrics_addr:
        raise NotFound("The metrics are served at IMAGEQUEUE_METRICS_ADDR")
    await require_operator(request)
    registry: CollectorRegistry = request.app.state.metrics
    body = await query(services, lambda _: generate_latest(registry))
    return Response(body, media_type=CONTENT_TYPE_LATEST)


def make_registry(runtime: Runtime) -> CollectorRegistry:
    """A registry whose one collector reads the database."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DatabaseCollector(runtime))
    return registry


@contextmanager
def serving_metrics(runtime: Runtime, registry: CollectorRegistry) -> Generator[None]:
    """Serve at IMAGEQUEUE_METRICS_ADDR while the context is open; of several processes the first one serves.

    Without a host that is this machine alone, because no key is asked for.

    Raises:
        ConfigurationError: it is not HOST:PORT.
    """
    address = runtime.settings.metrics_addr
    server = _started(address, registry) if address else None
    try:
        yield
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()


def _started(address: str, registry: CollectorRegistry) -> WSGIServer | None:
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ConfigurationError("IMAGEQUEUE_METRICS_ADDR: HOST:PORT is needed")
    try:
        server, _ = start_http_server(int(port), host.strip("[]") or _THIS_MACHINE, registry)
    except OSError as error:
        log.info("metrics_served_elsewhere", reason=str(error))
        return None
    return server


@dataclass(slots=True, eq=False)
class DatabaseCollector(Collector):
    """Reads everything anew for each scrape, so every process of the API tells the same."""

    runtime: Runtime
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        with self._lock, self.runtime.engine.begin() as connection:
            yield from _jobs(connection)
            yield from _queues(connection)
            yield from _calls(connection)
            yield from _quotas(report_deployments(connection, self.runtime.catalog))
            yield from _deliveries(connection)
            yield _wallets(connection)
            yield from _processes(connection)


def _jobs(connection: Connection) -> Iterator[Metric]:
    """Live jobs are a difference of totals, so that a million of them cost no more than one."""
    entered = event_totals.entered(connection)
    counter = CounterMetricFamily("imagequeue_jobs", "Jobs that entered a status.", labels=["status"])
    for status in JobStatus:
        counter.add_metric([status], entered[status])
    processing = metrics.processing_jobs(connection)
    queued = entered[JobStatus.QUEUED] - sum(entered[status] for status in FINAL) - processing
    gauge = GaugeMetricFamily(
        "imagequeue_jobs_live", "Jobs in a status that is not final.", labels=["status"]
    )
    gauge.add_metric([JobStatus.QUEUED], max(0, queued))
    gauge.add_metric([JobStatus.PROCESSING], processing)
    return iter((counter, gauge))


def _queues(connection: Connection) -> Iterator[Metric]:
    labels = ["model", "lane", "status"]
    depth = GaugeMetricFamily("imagequeue_queue_depth", "Jobs that wait for a call.", labels=labels)
    age = GaugeMetricFamily("imagequeue_queue_age_seconds", "How long the oldest has waited.", labels=labels)
    for row in metrics.queue_depths(connection):
        depth.add_metric([row.model_id, row.lane, row.status], row.depth)
        age.add_metric([row.model_id, row.lane, row.status], row.age)
    return iter((depth, age))


def _calls(connection: Connection) -> Iterator[Metric]:
    labels = ["deployment", "state"]
    granted = GaugeMetricFamily(
        "imagequeue_attempts_recent", "Attempts granted in the last five minutes.", labels=labels
    )
    latency = GaugeMetricFamily(
        "imagequeue_call_seconds_recent",
        "How long the calls of these attempts took.",
        labels=[*labels, "quantile"],
    )
    for row in metrics.recent_calls(connection):
        granted.add_metric([row.deployment, row.state], row.calls)
        for quantile, seconds in zip(("0.5", "0.95"), row.quantiles or (), strict=False):
            if seconds is not None:
                latency.add_metric([row.deployment, row.state, quantile], seconds)
    return iter((granted, latency))


def _quotas(reports: Iterable[DeploymentReport]) -> Iterator[Metric]:
    reports = list(reports)
    groups = {report.quota_group: report for report in reports}.values()
    for name, text, values in (
        ("quota_rpm", "Calls per window.", [(one, one.rpm) for one in groups]),
        ("quota_effective_rpm", "The same while it drifts.", [(one, one.effective_rpm) for one in groups]),
        ("quota_guard_seconds", "The guard.", [(one, one.guard_seconds) for one in groups]),
        ("quota_tokens_out", "Tokens that are out.", [(one, one.tokens_out) for one in groups]),
        (
            "quota_out",
            "1: the upstream says that the quota is used up.",
            [(one, int(one.out_of_quota)) for one in groups],
        ),
    ):
        family = GaugeMetricFamily(f"imagequeue_{name}", text, labels=["quota_group"])
        for report, value in values:
            family.add_metric([report.quota_group], value)
        yield family
    throttled = CounterMetricFamily("imagequeue_throttled", "Answers 429.", labels=["quota_group"])
    drift = CounterMetricFamily(
        "imagequeue_quota_drift", "Answers 429 that our own calls do not explain.", labels=["quota_group"]
    )
    for one in groups:
        throttled.add_metric([one.quota_group], one.throttled)
        drift.add_metric([one.quota_group], one.quota_drift)
    yield throttled
    yield drift
    yield from _deployments(reports)


def _deployments(reports: Iterable[DeploymentReport]) -> Iterator[Metric]:
    breaker = GaugeMetricFamily(
        "imagequeue_deployment_breaker", "1 for the state of the breaker.", labels=["deployment", "state"]
    )
    in_flight = GaugeMetricFamily(
        "imagequeue_deployment_in_flight", "Released and calling attempts.", labels=["deployment"]
    )
    for report in reports:
        in_flight.add_metric([report.name], report.in_flight)
        for state in Breaker:
            breaker.add_metric([report.name, state], int(report.breaker is state))
    return iter((breaker, in_flight))


def _deliveries(connection: Connection) -> Iterator[Metric]:
    pending, overdue = metrics.pending_deliveries(connection)
    yield GaugeMetricFamily("imagequeue_deliveries_pending", "Webhooks that wait.", value=pending)
    dead = metrics.dead_deliveries(connection)
    yield GaugeMetricFamily("imagequeue_deliveries_dead", "Webhooks that were given up.", value=dead)
    text = "How long the most overdue webhook has been due."
    yield GaugeMetricFamily("imagequeue_deliveries_overdue_seconds", text, value=max(0.0, overdue))
    text = "Delivery attempts in the last five minutes."
    tries = GaugeMetricFamily("imagequeue_delivery_attempts_recent", text, labels=["outcome"])
    for outcome, count in metrics.recent_deliveries(connection).items():
        tries.add_metric([outcome], count)
    yield tries


def _wallets(connection: Connection) -> Metric:
    sums = metrics.wallets(connection)
    family = GaugeMetricFamily("imagequeue_wallets_usd", "Sums over all wallets.", labels=["amount"])
    for name, amount in (("available", sums.available), ("held", sums.held), ("spent", sums.spent)):
        family.add_metric([name], float(amount))
    return family


def _processes(connection: Connection) -> Iterator[Metric]:
    alive = GaugeMetricFamily("imagequeue_processes", "Processes with a recent heartbeat.", labels=["kind"])
    for kind, count in processes.fresh_kinds(connection).items():
        alive.add_metric([kind], count)
    slots = GaugeMetricFamily("imagequeue_slots", "Worker slots of the live workers.", labels=["queue"])
    for queue, count in processes.slots_by_queue(connection).items():
        slots.add_metric([queue], count)
    return iter((alive, slots))
