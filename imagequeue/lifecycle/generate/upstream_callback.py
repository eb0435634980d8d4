"""Upstream callback: an upstream posts the reference of a request that it took, so no call is made twice.

From the moment at which a submit-and-poll upstream takes a request until its answer is stored, only the
upstream knows that it did. A worker that dies meanwhile, or a connection that breaks, leaves a call in doubt,
and making the call again may mean paying twice. An upstream that calls back closes that gap: the submit names
a URL of ours for this one attempt, so the reference comes even when the answer was lost.

- A call in doubt does not end its attempt: it sleeps without a reference, and uses no worker slot.
- The upstream callback brings the reference and makes a poll due. It may be lost, doubled or late. Only the
  reference is read from its body; the result is fetched by polling, with our key.
- It may also come while the call is in flight, or when its answer is stored already. The second of the two
  finds the reference of the first in the row; in either case the upstream is polled at once.
- Without an upstream callback the attempt is UNKNOWN at the call's total deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.errors import InvalidRequest
from imagequeue.providers.provider import CallbackProvider
from imagequeue.providers.registry import PROVIDERS
from imagequeue.store.attempts import calls, polls

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class UpstreamCallbacks:
    """Takes upstream callbacks. `wake` tells the dispatcher that a poll is due."""

    engine: Engine
    catalog: Callable[[], Catalog]
    wake: Callable[[], None]

    def take(self, attempt_id: UUID, body: Mapping[str, Any]) -> None:
        """Store the reference of an attempt from what its upstream posted.

        Nothing is stored for an attempt that is closed, or whose deployment is gone.

        Raises:
            InvalidRequest: the body holds no reference.
        """
        with self.engine.begin() as connection:
            reference = self._reference(connection, attempt_id, body)
            stands = reference and polls.learn_reference(connection, attempt_id, reference)
        if stands and stands != reference:  # the reference that was stored first is the one that is polled
            log.warning("callback_contradicts", attempt_id=str(attempt_id))
        elif stands:
            log.info("called_back", attempt_id=str(attempt_id))
            self.wake()

    def _reference(self, connection: Connection, attempt_id: UUID, body: Mapping[str, Any]) -> str | None:
        deployment = self.catalog().deployment(calls.deployment_of(connection, attempt_id) or "")
        provider = PROVIDERS[deployment.provider] if deployment else None
        if not isinstance(provider, CallbackProvider):
            return None
        reference = provider.parse_callback(body)
        if reference is None:
            raise InvalidRequest("The body names no request")
        return reference
