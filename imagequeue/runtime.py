"""What a process has while it runs: settings, connections, catalog. Made once at its start, passed down."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from imagequeue import __version__
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.domain.errors import ConfigurationError
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.policy import EgressPolicy
from imagequeue.egress.tls import guard_tls_context
from imagequeue.egress.tunnel import Proxy
from imagequeue.media.opening import open_storage
from imagequeue.media.storage import Storage
from imagequeue.providers.registry import PROVIDERS
from imagequeue.redis_server.client import PrefixedRedis, open_redis
from imagequeue.settings import Settings
from imagequeue.signing import Keyring
from imagequeue.store.database import open_engine
from imagequeue.store.jobs.flow_ids import FlowIds


@dataclass(slots=True, eq=False)
class Runtime:
    """The parts that verbs and routes are given. Opening it makes no connection yet.

    `tls` is for the egress guard; None: the public certificate authorities are trusted. `upstream_proxy` is
    for calls to the catalog's endpoints alone. `calls_upstreams`: this process makes such calls, so its
    environment must have the keys of the catalog.

    Only `catalog` is ever replaced, by `lifecycle.operate.reload_catalog`. So code that runs on reads it from
    here each time, and does not store it.
    """

    settings: Settings
    engine: Engine
    redis: PrefixedRedis
    catalog: Catalog
    keyring: Keyring
    policy: EgressPolicy
    storage: Storage
    flow_ids: FlowIds = field(default_factory=FlowIds)
    tls: ssl.SSLContext | None = None
    upstream_proxy: Proxy | None = None
    calls_upstreams: bool = True

    def guarded_client(self) -> GuardedClient:
        """An HTTP client for URLs that come from clients or from the answers of upstreams."""
        return GuardedClient(self.policy, user_agent=f"imagequeue/{__version__}", tls=self.tls)

    def close(self) -> None:
        """Close every connection."""
        self.redis.close()
        self.engine.dispose()


def open_runtime(settings: Settings, *, name: str, calls_upstreams: bool = True) -> Runtime:
    """Open everything that a process of imagequeue needs.

    Args:
        settings: those of the process.
        name: shown in `pg_stat_activity`.
        calls_upstreams: whether the catalog's keys must be in the environment.

    Raises:
        ConfigurationError: a setting or the catalog is wrong.
    """
    if settings.catalog is None:
        raise ConfigurationError("IMAGEQUEUE_CATALOG: the path of a catalog file is needed")
    return Runtime(
        settings=settings,
        engine=open_database(settings, pool_size=settings.database_pool_size, name=name),
        redis=open_redis(settings.redis_address),
        catalog=load_catalog(Path(settings.catalog), os.environ, PROVIDERS, calls_upstreams=calls_upstreams),
        keyring=Keyring(settings.secret_key.get_secret_value()),
        policy=EgressPolicy.parse(
            allow=settings.egress_allow, deny=settings.egress_deny, public_url=settings.public_origin
        ),
        storage=open_storage(
            settings.storage_url, settings.s3_endpoint_url, settings.s3_presign_endpoint_url
        ),
        tls=guard_tls_context(settings.egress_ca_file) if settings.egress_ca_file else None,
        upstream_proxy=Proxy.parse(settings.upstream_proxy.get_secret_value()),
        calls_upstreams=calls_upstreams,
    )


def open_database(settings: Settings, *, pool_size: int, name: str) -> Engine:
    """Open a pool of connections to the database of the settings.

    Args:
        settings: whose `database_url` and `database_pooler` count.
        pool_size: the most connections that this process holds.
        name: shown in `pg_stat_activity`.

    Raises:
        ConfigurationError: the URL cannot be read.
    """
    url = settings.database_url.get_secret_value()
    return open_engine(url, pool_size=pool_size, name=name, pooler=settings.database_pooler)
