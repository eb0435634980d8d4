"""Callback: an upstream tells what it calls the request of an attempt, so that no call is made twice.

Between the moment at which a submit-and-poll upstream takes a request and the one at which its answer is
stored, only the upstream knows that it did. A worker that dies there, or a connection that breaks, leaves a
call in doubt, and to make it again may be to pay twice. An upstream that calls back closes that gap: its
submit names a URL of ours for this one attempt, so whatever became of the answer, the reference comes.

- A call in doubt does not end its attempt (`settle.py`). It sleeps without a reference, and holds no worker.
- The callback brings the reference and wakes it. It is a doorbell like any other: it may be lost, doubled or
  late, and of its body nothing but the reference is taken. The result is fetched by polling, with our key.
- It may also come while the call is in flight or already sleeps. Whoever is second, the callback or the
  answer, finds the other's reference in the row; either way the upstream is polled at once.
- Without a callback the attempt is UNKNOWN at the call's total deadline (`poll.py`).
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
from imagequeue.store.attempts import calls

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class UpstreamCallbacks:
    """The verb, with what it needs. `wake` tells the dispatcher that a poll is due."""

    engine: Engine
    catalog: Callable[[], Catalog]
    wake: Callable[[], None]

    def take(self, attempt_id: UUID, body: Mapping[str, Any]) -> None:
        """Learn the reference of an attempt from what its upstream posted.

        Of an attempt that is closed, or whose deployment is gone, there is nothing to learn.

        Raises:
            InvalidRequest: the body holds no reference.
        """
        with self.engine.begin() as connection:
            reference = self._reference(connection, attempt_id, body)
            stands = reference and calls.learn_reference(connection, attempt_id, reference)
        if stands and stands != reference:  # what our own call was answered, or came first, is what we go by
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
