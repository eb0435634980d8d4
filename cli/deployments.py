"""`imagequeue deployments`: the state of every deployment.

Needs IMAGEQUEUE_DATABASE_URL and IMAGEQUEUE_CATALOG.
"""

from __future__ import annotations

import os
from dataclasses import asdict

from cli.errors import reported
from cli.keys import AsJson
from cli.output import print_json
from cli.store import operator_engine
from cli.tables import Column, print_table
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.domain.errors import ConfigurationError
from imagequeue.lifecycle.operate.report import DeploymentReport, report_deployments
from imagequeue.providers.registry import PROVIDERS
from imagequeue.settings import load_settings

COLUMNS = (
    Column("deployment"),
    Column("order", rank=6),
    Column("rpm", rank=3),
    Column("tokens out", rank=5),
    Column("next start", rank=4),
    Column("in flight", rank=7),
    Column("breaker", rank=1),
    Column("drift", rank=8),
    Column("last error", rank=2, prose=True),
)


@reported
def deployments(*, as_json: AsJson = False) -> None:
    """Show rate, tokens out, next start, breaker, drift and last error of every deployment."""
    path = load_settings().catalog
    if path is None:
        raise ConfigurationError("IMAGEQUEUE_CATALOG: the path of a catalog file is needed")
    catalog = load_catalog(path, os.environ, PROVIDERS)
    with operator_engine() as engine, engine.connect() as connection:
        reports = report_deployments(connection, catalog)
    if as_json:
        print_json({"data": [asdict(report) for report in reports]})
        return
    print_table(COLUMNS, [_row(report) for report in reports])


def _row(report: DeploymentReport) -> tuple[str, ...]:
    rate = str(report.rpm)
    if report.effective_rpm != report.rpm:
        rate = f"{report.effective_rpm} of {report.rpm}"
    return (
        report.name,
        str(report.order),
        rate,
        str(report.tokens_out),
        "-" if report.next_start_in is None else f"{report.next_start_in:.1f} s",
        str(report.in_flight),
        _breaker(report),
        str(report.quota_drift),
        report.last_error or "",
    )


def _breaker(report: DeploymentReport) -> str:
    if report.out_of_quota:
        return "out of quota"
    if report.misconfigured:
        return f"{report.breaker}, misconfigured"
    return str(report.breaker)
