"""Poll: ask a submit-and-poll upstream for the result of an attempt that it took.

Between two polls the attempt sleeps in Postgres and holds no worker. Its reference was stored right after
the submit, so whoever polls next pays nothing again: a worker may die in between (docs/design/pipeline.md,
"An attempt"). Even when the total deadline has passed it is asked for once more: the result may have been
there for long, and nobody was.

One that sleeps without a reference waits for its upstream to call back (`callback.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy import Engine

from imagequeue.domain.backoff import FORGOTTEN_REQUEST
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.upstream import Ambiguous, Images, Misconfigured, Pending, Unavailable, UpstreamError
from imagequeue.domain.verdicts import NotCalledBack
from imagequeue.lifecycle.generate.upstream_caller import Parse, UpstreamCaller
from imagequeue.providers.exchange import response_limit, send
from imagequeue.providers.provider import PollingProvider
from imagequeue.providers.registry import PROVIDERS
from imagequeue.providers.response import UpstreamResponse
from imagequeue.store.attempts import calls
from imagequeue.store.attempts.calls import CallTicket, Doorbell

POLL_SECONDS = 30.0
"""The total deadline of one poll."""

WAKE_AT_ONCE = 200


class StillPending(UpstreamError):
    """A poll got no answer; the upstream still has the request."""


@dataclass(frozen=True, slots=True)
class Polls:
    """Ring for the sleeping attempts whose next poll is due."""

    engine: Engine
    release: Callable[[Sequence[Doorbell]], None]

    def run_once(self) -> int:
        """Wake what is due; how many."""
        with self.engine.begin() as connection:
            due = calls.wake_sleeping(connection, WAKE_AT_ONCE)
        if due:
            self.release(due)
        return len(due)


def poll(upstreams: UpstreamCaller, ticket: CallTicket) -> tuple[UpstreamResponse, Parse]:
    """Ask once for the result of a sleeping attempt; the answer, and how to read it.

    Raises:
        Ambiguous: there is nobody to ask, or no result by the call's total deadline; it may be billed.
        StillPending: the upstream, or the way to it, is out: it is asked again, never submitted again.
    """
    deployment, provider, reference = _asked(upstreams, ticket)
    request = provider.build_poll(reference, deployment, upstreams.secret(deployment))
    limit = response_limit(ticket.image_count)
    try:
        response = send(request, client=upstreams.client, deadline_seconds=POLL_SECONDS, max_bytes=limit)
    except UpstreamError as error:
        _give_up_in_time(ticket)
        raise StillPending(error.reason) from error

    def parse(answered: UpstreamResponse) -> Images | Pending:
        try:
            answer = provider.parse_poll(answered, reference, ticket.image_count)
        except Misconfigured:  # our key is wrong now; what was submitted with a good one is not lost
            answer = Pending(reference)
        except Unavailable:
            if answered.status < HTTPStatus.BAD_REQUEST or ticket.is_overdue:
                raise
            answer = Pending(reference, FORGOTTEN_REQUEST.first_seconds)
        if isinstance(answer, Pending):
            _give_up_in_time(ticket)
        return answer

    return response, parse


def _asked(upstreams: UpstreamCaller, ticket: CallTicket) -> tuple[Deployment, PollingProvider, str]:
    if ticket.upstream_reference is None:
        raise NotCalledBack("nobody knows what came of the call, and the upstream has not called back")
    deployment = upstreams.catalog().deployment(ticket.deployment)
    provider = PROVIDERS[deployment.provider] if deployment else None
    if deployment is None or not isinstance(provider, PollingProvider):
        raise Ambiguous("the catalog no longer has the deployment that took the request")
    return deployment, provider, ticket.upstream_reference


def _give_up_in_time(ticket: CallTicket) -> None:
    """Ask again later, unless the total deadline of the call has passed."""
    if ticket.is_overdue:
        raise Ambiguous("the upstream took the request and gave no result in time")
