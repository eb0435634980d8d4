"""The start of a call: the moment at which its token begins to run.

Calls that are late bunch up, and bunched calls are how a quota is exceeded (docs/design/rate-limiting.md,
"The start of a call"). So everything slow comes before the start: reading, building the request, opening the
connection. A call that misses its start window is given back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from imagequeue.domain.catalog import Catalog, Deployment
from imagequeue.domain.verdicts import GivenBack
from imagequeue.failpoint import failpoint
from imagequeue.lifecycle.generate.call_records import CallRecords
from imagequeue.lifecycle.generate.start_window import StartWindow
from imagequeue.lifecycle.generate.worker_process import WorkerProcess
from imagequeue.store.attempts.calls import CallTicket


@dataclass(slots=True)
class CallStart:
    """What the sender of a call asks before its first byte and tells after its last; for one attempt.

    `rung_at` (seconds of `time.monotonic`): when its doorbell came.
    `started`: the attempt was moved to CALLING, so the upstream may have been sent something.
    """

    records: CallRecords
    process: WorkerProcess
    catalog: Callable[[], Catalog]
    ticket: CallTicket
    window: StartWindow
    rung_at: float
    started: bool = False

    @property
    def deployment(self) -> Deployment:
        """Where the call goes.

        Raises:
            GivenBack: the catalog no longer has it.
        """
        found = self.catalog().deployment(self.ticket.deployment)
        if found is None:
            raise GivenBack("the catalog no longer has this deployment", started=False)
        return found

    @property
    def until(self) -> float:
        """The total deadline of the call (seconds of `time.monotonic`); where nobody knows it, its start."""
        if self.ticket.gives_up_in is not None:
            return self.window.opens - self.ticket.starts_in + self.ticket.gives_up_in
        found = self.catalog().deployment(self.ticket.deployment)
        return self.window.opens + (found.timeout_seconds if found else 0.0)

    @property
    def seconds_left(self) -> float:
        """Seconds until the start window opens; 0 when it is open, or was."""
        return max(0.0, self.window.opens - time.monotonic())

    def before_send(self) -> None:
        """Wait for the start window and move the attempt to CALLING; the first byte is sent next.

        The clock is read once more after the commit, because the commit itself may have been slow.

        Raises:
            GivenBack: the process stops, the moment has passed, or the call may not start: its group was
                blocked meanwhile, or somebody else made it or ended its job, and has the attempt; then
                giving it back changes nothing.
        """
        if self.process.stopping.wait(self.seconds_left):
            raise GivenBack("the worker stops", started=False)
        self.require_in_time()
        failpoint("generate.before_start")
        if not self._start():
            raise GivenBack("the call may not start", started=False)
        self.started = True
        failpoint("generate.started")
        self.require_in_time()

    def require_in_time(self) -> None:
        """Note how late the process is with the call, and end the attempt if its start window has closed.

        Raises:
            GivenBack: it has.
        """
        could_at = max(self.window.opens, self.rung_at)  # what passed before the doorbell is not its delay
        self.process.punctuality.began(could_at, self.process.in_flight)
        if time.monotonic() > self.window.closes:
            raise GivenBack("too late for its start", started=self.started)

    def on_sent(self, moment: float) -> None:
        """Store when the request body was written (seconds of `time.monotonic`): then the token runs."""
        failpoint("generate.sent")
        self.process.in_flight.sent(self.ticket.attempt_id)
        self.records.record_sent(self.ticket.attempt_id, moment)

    def on_answered(self) -> None:
        """Note that the exchange has ended, however it did."""
        self.process.in_flight.answered(self.ticket.attempt_id)

    def _start(self) -> bool:
        timeout = self.deployment.timeout_seconds
        try:
            return self.records.start(self.ticket.attempt_id, self.process.id, timeout)
        except SQLAlchemyError as error:
            raise GivenBack("the database is away", started=True, certain=False) from error
