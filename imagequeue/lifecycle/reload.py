"""Reload: every process takes up a changed catalog, without a restart.

It is asked for by a row in the database (`imagequeue catalog reload`, or the operators' route), so that all
processes on all machines hear of it, or by SIGHUP to one of them. A file that is wrong changes nothing: the
catalog that was there stays, and the log names the mistake. Calls in flight keep the deployment that they
began with, and so do the attempts that were granted before.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import DBAPIError

from imagequeue.domain.catalog import Catalog, load_catalog
from imagequeue.domain.errors import ConfigurationError
from imagequeue.runtime import Runtime
from imagequeue.store import catalog_reloads, deployments, quota

log = structlog.get_logger()

INTERVAL_SECONDS = 2.0


def read_catalog(runtime: Runtime) -> Catalog:
    """Read this process's catalog file anew.

    Raises:
        ConfigurationError: it is wrong; the message names the entry.
    """
    if runtime.settings.catalog is None:
        raise ConfigurationError("IMAGEQUEUE_CATALOG: the path of a catalog file is needed")
    return load_catalog(runtime.settings.catalog, os.environ)


def ask_for_reload(runtime: Runtime) -> Catalog:
    """Check the file, and ask every process to take it up within seconds.

    Raises:
        ConfigurationError: the file is wrong; nobody is asked.
    """
    catalog = read_catalog(runtime)
    with runtime.engine.begin() as connection:
        catalog_reloads.ask(connection)
    return catalog


@dataclass(slots=True)
class CatalogWatch:
    """The loop of one process. `hung_up` is set by its SIGHUP handler."""

    runtime: Runtime
    hung_up: threading.Event = field(default_factory=threading.Event)
    seen: int | None = None

    def run_once(self) -> int:
        """Reload if somebody has asked since the last look; 1 when the catalog was taken up."""
        with self.runtime.engine.connect() as connection:
            asked = catalog_reloads.last(connection)
        first, self.seen, before = self.seen is None, asked, self.seen
        if not self.hung_up.is_set() and (first or asked == before):
            return 0
        self.hung_up.clear()
        try:
            self._take_up(read_catalog(self.runtime))
        except ConfigurationError as error:
            log.error("catalog_refused", reason=error.message)  # noqa: TRY400  # its message says it all
            return 0
        return 1

    def run(self, stopping: threading.Event) -> None:
        """Look again and again until the process stops."""
        while not stopping.wait(INTERVAL_SECONDS):
            try:
                self.run_once()
            except DBAPIError as error:
                log.warning("catalog_watch_failed", reason=type(error).__name__)

    def _take_up(self, catalog: Catalog) -> None:
        old = self.runtime.catalog
        changed = [one.name for one in catalog.deployments if one != old.deployment(one.name)]
        with self.runtime.engine.begin() as connection:
            quota.ensure_groups(connection, catalog.quota_groups.values())
            deployments.forget(connection, changed)
        self.runtime.catalog = catalog.after(old)
        log.info("catalog_reloaded", deployments=len(catalog.deployments), changed=len(changed))
