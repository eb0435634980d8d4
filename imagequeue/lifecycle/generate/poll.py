"""Poll: ask a submit-and-poll upstream for the result of an attempt that it took.

Between two polls the attempt sleeps in Postgres and holds no worker. Its reference was stored right after
the submit, so whoever polls next pays nothing again: a worker may die in between (docs/design/pipeline.md,
"An attempt"). Even when the total deadline has passed it is asked for once more: the result may have been
there for long, and nobody was.

One that sleeps without a reference waits for its upstream to call back (`upstream_callback.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy import Engine

from imagequeue.domain.backoff import FORGOTTEN_REQUEST
from imagequeue.domain.catalog import Deployment
from imagequeue.domain.jobs import Lane
from imagequeue.domain.polling import new_polls, poll_places
from imagequeue.domain.upstream import Ambiguous, Images, Misconfigured, Pending, Unavailable, UpstreamError
from imagequeue.domain.verdicts import NotCalledBack
from imagequeue.lifecycle.generate.upstream_caller import Parse, UpstreamCaller
from imagequeue.providers.exchange import response_limit, send
from imagequeue.providers.provider import PollingProvider
from imagequeue.providers.registry import PROVIDERS
from imagequeue.providers.response import UpstreamResponse
from imagequeue.store import processes
from imagequeue.store.attempts import polls
from imagequeue.store.attempts.calls import CallTicket, Doorbell
from imagequeue.store.attempts.polls import PollCounts
from imagequeue.store.database import separate_statements

POLL_SECONDS = 30.0
"""The total deadline of one poll."""


class StillPending(UpstreamError):
    """A poll got no answer, or an outage as its answer; the upstream still has the request."""


@dataclass(frozen=True, slots=True)
class PollFailed(Pending):
    """A poll that failed: the breaker is told `reason`, and the attempt sleeps until the next poll."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Polls:
    """Ring for the sleeping attempts whose next poll is due, while polls have places free.

    `waiting` counts the doorbells that wait in the list of a lane; None while Redis is away. A list that is
    longer than the polls that are rung for takes the places up: no worker answers what waits there.
    """

    engine: Engine
    release: Callable[[Sequence[Doorbell]], None]
    waiting: Callable[[Lane], int | None]

    def run_once(self) -> int:
        """Ring for what is due and has a place; how many."""
        with separate_statements(self.engine) as connection:
            if not polls.any_sleeps(connection):
                return 0
            slots = processes.slots_by_queue(connection)
            places = {lane: poll_places(slots.get(f"generate.{lane}", 0)) for lane in Lane}
            found = polls.count_polls(connection, places)
        return sum(self._ring(lane, counts, places[lane]) for lane, counts in found.items())

    def _ring(self, lane: Lane, counts: PollCounts, places: int) -> int:
        waiting = self.waiting(lane)
        if waiting is None or waiting >= places:
            return 0
        granted = new_polls(places, counts.taken, counts.due)
        if not granted:
            return 0
        with self.engine.begin() as connection:
            due = polls.ring_polls(connection, lane, granted)
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
        except Misconfigured as error:  # our key is wrong now; what was submitted with a good one is not lost
            _give_up_in_time(ticket)
            raise StillPending(error.reason) from error
        except Unavailable:
            if answered.status < HTTPStatus.BAD_REQUEST or ticket.is_overdue:
                raise
            answer = Pending(reference, FORGOTTEN_REQUEST.first_seconds)
        if isinstance(answer, Pending):
            _give_up_in_time(ticket)
            if answered.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise StillPending(f"a poll was answered with {answered.status}")
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
