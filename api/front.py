"""What one API process holds: the runtime, and the bulk calls that its requests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast
from uuid import UUID

from fastapi import Request
from sqlalchemy import Connection

from api.coalesce import Coalescer
from imagequeue.domain.errors import ImagequeueError
from imagequeue.egress import EgressPolicy
from imagequeue.lifecycle.submission import Accepted, Submission
from imagequeue.lifecycle.submit import submit
from imagequeue.media.opening import open_storage
from imagequeue.runtime import Runtime, open_redis
from imagequeue.signing import Keyring
from imagequeue.store.accounts import StoredKey, keys_by_lookup
from imagequeue.store.requests import RequestStatus, read_statuses
from imagequeue.throttle import Throttle
from imagequeue.wakeup import JOBS_WAITING, Bell

R = TypeVar("R")


class Front:
    """Everything that routes share. Made once per process; `request.app.state.front`.

    Raises:
        ConfigurationError: the secret key, the storage or an egress list is wrong.
    """

    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self.runtime = runtime
        self.keyring = Keyring(settings.secret_key.get_secret_value())
        self.storage = open_storage(settings.storage_url, settings.s3_endpoint_url)
        self.policy = EgressPolicy.parse(
            allow=settings.egress_allow, deny=settings.egress_deny, public_url=settings.public_origin
        )
        self.bell = Bell(runtime.redis, JOBS_WAITING)
        self.throttle = Throttle(open_redis(settings.redis_url.get_secret_value()))
        self.submits = Coalescer(self._submit, name="submits")
        self.statuses = Coalescer(self._statuses, name="statuses")
        self.keys = Coalescer(self._keys, name="keys", threads=1)
        self.limits = Coalescer(self.throttle.take, name="limits", threads=1)
        self._queries = Coalescer(self._query, name="queries", most=1)

    async def query(self, read: Callable[[Connection], R]) -> R:
        """Run a reading function in a worker thread, with a connection of its own."""
        return cast("R", await self._queries.call(read))

    def close(self) -> None:
        """End the threads."""
        for coalescer in (self.submits, self.statuses, self.keys, self.limits, self._queries):
            coalescer.close()
        self.bell.close()

    def _submit(self, submissions: list[Submission]) -> Sequence[Accepted | ImagequeueError]:
        return submit(self.runtime, submissions, wake=self.bell.ring)

    def _statuses(self, job_ids: list[UUID]) -> Sequence[RequestStatus | None]:
        with self.runtime.engine.connect() as connection:
            found = read_statuses(connection, job_ids)
        return [found.get(job_id) for job_id in job_ids]

    def _keys(self, lookups: list[str]) -> Sequence[StoredKey | None]:
        with self.runtime.engine.connect() as connection:
            found = keys_by_lookup(connection, lookups)
        return [found.get(lookup) for lookup in lookups]

    def _query(self, reads: list[Callable[[Connection], object]]) -> Sequence[object]:
        with self.runtime.engine.connect() as connection:
            return [read(connection) for read in reads]


def front_of(request: Request) -> Front:
    """The front of the app that serves a request."""
    return request.app.state.front
