"""The verbs of the worker and dispatcher processes, put together from a Runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import httpx
from sqlalchemy import Engine

from imagequeue.dialects.registry import DIALECTS
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.webhooks import parse_schedule
from imagequeue.egress.transport import deadline_transport
from imagequeue.lifecycle.deliver.deliver import Delivering
from imagequeue.lifecycle.generate.fetch_inputs import Fetching
from imagequeue.lifecycle.generate.generate import Generation
from imagequeue.lifecycle.generate.in_flight import InFlight
from imagequeue.lifecycle.generate.inputs import Inputs
from imagequeue.lifecycle.generate.poll import Polling
from imagequeue.lifecycle.generate.store_images import ImageStorer, StorageHealth
from imagequeue.lifecycle.settle.settle import Settlement
from imagequeue.lifecycle.sweep.rescue import Rescue
from imagequeue.media.spill import Spill
from imagequeue.media_urls import media_urls
from imagequeue.providers.entra import EntraTokens
from imagequeue.runtime import Runtime
from imagequeue.store.database import open_engine
from imagequeue.upstream_callback_urls import upstream_callback_urls
from imagequeue.wakeup import JOBS_FINAL, JOBS_WAITING, WakeupPublisher


def settlement(runtime: Runtime, announce: Callable[[Sequence[UUID]], None]) -> Settlement:
    """The verb `settle`."""
    return Settlement(
        engine=runtime.engine,
        catalog=lambda: runtime.catalog,
        media_url=media_urls(runtime.settings, runtime.keyring),
        webhook_bodies=DIALECTS.webhook_bodies(runtime.settings.public_origin),
        announce=announce,
    )


def heartbeat_engine(runtime: Runtime) -> Engine:
    """A pool for the heartbeat alone: see `Heartbeat`."""
    return open_engine(runtime.settings.sqlalchemy_url, pool_size=1, name="heartbeat")


def generation(
    runtime: Runtime, image_storer: ImageStorer, settlement: Settlement, process_id: UUID, in_flight: InFlight
) -> Generation:
    """The verb `generate`; it ends with its keeper."""
    client = httpx.Client(transport=deadline_transport(), trust_env=False)
    secret = Secrets(runtime)
    return Generation(
        engine=runtime.engine,
        catalog=lambda: runtime.catalog,
        secret=secret,
        client=client,
        inputs=inputs(runtime),
        polling=Polling(runtime.engine, lambda: runtime.catalog, secret, client),
        image_storer=image_storer,
        settlement=settlement,
        callback_url=upstream_callback_urls(runtime.settings, runtime.keyring),
        process_id=process_id,
        stopping=image_storer.stopping,
        in_flight=in_flight,
    )


def inputs(runtime: Runtime) -> Inputs:
    """Where input images come from."""
    return Inputs(runtime.storage, runtime.guarded_client(), runtime.policy)


def fetching(runtime: Runtime, settlement: Settlement) -> Fetching:
    """The verb `fetch`."""
    return Fetching(
        runtime.engine, inputs(runtime), settlement, WakeupPublisher(runtime.redis, JOBS_WAITING).publish
    )


class Secrets:
    """What authenticates a call: the key that the catalog names, or an Entra ID token."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._entra: EntraTokens | None = None

    def __call__(self, deployment: Deployment) -> str:
        """The secret of one deployment.

        Raises:
            Misconfigured: there is no token to be had.
        """
        if deployment.auth == "key":
            return self._runtime.catalog.secret(deployment)
        if self._entra is None:
            self._entra = EntraTokens()
        return self._entra.token()


def image_storer(runtime: Runtime, health: StorageHealth, stopping: threading.Event) -> ImageStorer:
    """Where images go; `stopping` is set when the process is asked to end."""
    client = runtime.guarded_client()
    return ImageStorer(runtime.storage, spill(runtime), client, runtime.policy, health, stopping=stopping)


def spill(runtime: Runtime) -> Spill:
    """Where images wait on this machine while the storage is away."""
    return Spill(runtime.settings.spill_dir or Path(".imagequeue") / "spill")


def rescue(runtime: Runtime, settlement: Settlement) -> Rescue:
    """The verb `rescue`."""
    return Rescue(runtime.engine, runtime.storage, spill(runtime), settlement)


def delivering(runtime: Runtime) -> Delivering:
    """The verb `deliver`."""
    return Delivering(
        engine=runtime.engine,
        client=runtime.guarded_client(),
        policy=runtime.policy,
        keyring=runtime.keyring,
        schedule=parse_schedule(runtime.settings.webhook_schedule),
        dialect_headers=DIALECTS.webhook_headers(),
    )


def announcement(runtime: Runtime) -> Callable[[Sequence[UUID]], None]:
    """Tell those who wait for a job that it is final, and the dispatcher that a callback may be due."""
    final = WakeupPublisher(runtime.redis, JOBS_FINAL)

    def announce(job_ids: Sequence[UUID]) -> None:
        final.publish(*map(str, job_ids))

    return announce
