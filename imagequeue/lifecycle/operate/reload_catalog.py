"""Reload the catalog: every process takes up a changed file, without a restart.

A reload is requested by a row in the database, so that the processes of all machines see it: `imagequeue
catalog reload`, the operators' route and SIGHUP to any process insert one. A file with a mistake changes
nothing: no row is inserted, every process keeps its catalog, and the log names the mistake. Calls in flight
keep the deployment that they began with, and so do attempts that were granted before.

A process loads its catalog before it reads the rows for the first time, and the last row does not say whether
it is older than that. So the first check reads the file once more.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.domain.errors import ConfigurationError
from imagequeue.providers.registry import PROVIDERS
from imagequeue.runtime import Runtime
from imagequeue.store import catalog_reloads
from imagequeue.store.attempts import cold_starts, deployments, quota
from imagequeue.store.database import one_statement

log = structlog.get_logger()

INTERVAL_SECONDS = 5.0
"""Between two checks of a process for a request to reload, which somebody makes by hand a few times a day."""


def read_catalog(runtime: Runtime) -> Catalog:
    """Read this process's catalog file anew.

    Raises:
        ConfigurationError: it is wrong; the message names the entry.
    """
    if runtime.settings.catalog is None:
        raise ConfigurationError("IMAGEQUEUE_CATALOG: the path of a catalog file is needed")
    return load_catalog(
        runtime.settings.catalog, os.environ, PROVIDERS, calls_upstreams=runtime.calls_upstreams
    )


def ask_for_reload(runtime: Runtime) -> Catalog:
    """Check the file, and request that every process reloads it; that takes seconds.

    Raises:
        ConfigurationError: the file is wrong; no reload is requested.
    """
    catalog = read_catalog(runtime)
    ask_every_process(runtime.engine)
    return catalog


def ask_every_process(engine: Engine) -> None:
    """Request a reload from every process. The caller has checked the file."""
    with engine.begin() as connection:
        catalog_reloads.ask(connection)


@dataclass(slots=True)
class CatalogWatch:
    """What one process does every few seconds. `hung_up` is set by its SIGHUP handler."""

    runtime: Runtime
    hung_up: threading.Event = field(default_factory=threading.Event)
    seen: int | None = None

    def run_once(self) -> int:
        """Reload if that was requested since the last check; 1 when the catalog was taken up."""
        if self.hung_up.is_set():
            self._ask()
        with one_statement(self.runtime.engine) as connection:
            asked = catalog_reloads.last(connection)
        if asked == self.seen:
            return 0
        catalog = self._read()
        if catalog is not None and self.seen is None and self._is_ours(catalog):
            catalog = None
        if catalog is not None:
            self._take_up(catalog, asked)
        self.seen = asked  # last, so that a reload that the database interrupted is repeated
        return int(catalog is not None)

    def _ask(self) -> None:
        """Pass the signal on to all processes; this one reloads in the same check."""
        self.hung_up.clear()
        try:
            if self._read() is not None:
                ask_every_process(self.runtime.engine)
        except SQLAlchemyError:
            self.hung_up.set()  # the database is away: the next check requests it
            raise

    def _read(self) -> Catalog | None:
        """The file's catalog; None when it is wrong: the old catalog stays."""
        try:
            return read_catalog(self.runtime)
        except ConfigurationError as error:
            log.error("catalog_refused", reason=error.message)  # noqa: TRY400  # its message says it all
        except Exception:
            log.exception("catalog_refused")
        return None

    def _is_ours(self, catalog: Catalog) -> bool:
        ours = self.runtime.catalog
        return (catalog.models, catalog.deployments) == (ours.models, ours.deployments)

    def _take_up(self, catalog: Catalog, asked: int) -> None:
        """Every process does this, up to `INTERVAL_SECONDS` apart: the later ones change nothing more."""
        old = self.runtime.catalog
        changed = [one.name for one in catalog.deployments if one != old.deployment(one.name)]
        with self.runtime.engine.begin() as connection:
            since = catalog_reloads.asked_at(connection, asked)
            quota.ensure_groups(connection, catalog.quota_groups.values())
            cold_starts.begin_again(connection, _spent_anew(old, catalog), since)
            deployments.forget(connection, changed, since)
        self.runtime.catalog = catalog.after(old)
        log.info("catalog_reloaded", deployments=len(catalog.deployments), changed=len(changed))


def _spent_anew(old: Catalog, new: Catalog) -> list[str]:
    """The groups that have come back or gained a deployment, and whose tokens may be in use elsewhere."""
    before = {one.name: one.group for one in old.deployments}
    gained = {one.group for one in new.deployments if before.get(one.name) != one.group}
    return [
        group.name
        for group in new.quota_groups.values()
        if group.name in gained and group.cold_start == "spent"
    ]
