"""Poll: ask a submit-and-poll upstream for the result of an attempt that it took.

Between two polls the attempt sleeps in Postgres and holds no worker. Its reference was stored right after
the submit, so whoever polls next pays nothing again: a worker may die in between (pipeline.md, "An attempt").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
from sqlalchemy import Engine

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.upstream import Ambiguous, Images, Pending, Unavailable
from imagequeue.failpoint import failpoint
from imagequeue.providers.exchange import response_limit, send
from imagequeue.providers.provider import PollingProvider
from imagequeue.providers.registry import PROVIDERS
from imagequeue.store import attempts
from imagequeue.store.attempts import CallTicket, Doorbell

POLL_SECONDS = 30.0
"""The total deadline of one poll."""

WAKE_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Polls:
    """Ring for the sleeping attempts whose next poll is due."""

    engine: Engine
    release: Callable[[Sequence[Doorbell]], None]

    def run_once(self) -> int:
        """Wake what is due; how many."""
        with self.engine.begin() as connection:
            due = attempts.wake_sleeping(connection, WAKE_AT_ONCE)
        if due:
            self.release(due)
        return len(due)


@dataclass(frozen=True, slots=True)
class Polling:
    """The verb, with what it needs."""

    engine: Engine
    catalog: Callable[[], Catalog]
    client: httpx.Client

    def sleep(self, ticket: CallTicket, pending: Pending) -> None:
        """Store the reference and let the attempt sleep until its next poll."""
        with self.engine.begin() as connection:
            attempts.sleep(connection, ticket.attempt_id, pending.reference, pending.poll_after_seconds)
        failpoint("generate.sleeping")

    def ask(self, ticket: CallTicket) -> Images | Pending:
        """Ask once. An outage of the upstream, or of the way to it, is Pending again.

        Raises:
            Ambiguous: the call's total deadline passed without a result; the upstream may bill it.
            UpstreamError: the upstream's final answer is that there will be no image.
        """
        deployment = self.catalog().deployment(ticket.deployment)
        reference = ticket.upstream_reference
        if deployment is None or reference is None:
            raise Ambiguous("the catalog no longer has the deployment that took the request")
        if ticket.gives_up_in is not None and ticket.gives_up_in < 0:
            raise Ambiguous("the upstream took the request and gave no result in time")
        provider = PROVIDERS[deployment.provider]
        if not isinstance(provider, PollingProvider):
            raise Ambiguous("the deployment's provider has changed since it took the request")
        request = provider.build_poll(reference, deployment, self.catalog().secret(deployment))
        try:
            limit = response_limit(ticket.image_count)
            response = send(request, client=self.client, deadline_seconds=POLL_SECONDS, max_bytes=limit)
        except (Ambiguous, Unavailable):
            return Pending(reference)
        with response:
            return provider.parse_poll(response, reference, ticket.image_count)
