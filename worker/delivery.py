"""The part of a worker that delivers: a loop that claims, one that records, and threads that post."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from imagequeue import wiring
from imagequeue.lifecycle.deliver.deliver import Deliveries
from imagequeue.loops import Loop
from imagequeue.runtime import Runtime
from imagequeue.wakeup import JOBS_FINAL
from worker.wake import LookInterval, UntilSet, Wake

log = structlog.get_logger()


@contextmanager
def delivering(runtime: Runtime, slots: int, stopping: threading.Event) -> Generator[list[Loop]]:
    """Deliver with so many threads while the context is open; its loops.

    Then nothing more is claimed, the attempts that run come to their ends, and those are recorded.
    """
    recorded = threading.Event()
    with ThreadPoolExecutor(slots, "delivery") as pool:
        deliveries, interval = wiring.deliveries(runtime, pool, slots), LookInterval()

        def claim() -> int:
            if claimed := deliveries.run_once():
                interval.busy()
            return claimed

        may_claim = UntilSet(deliveries.may_claim, stopping, deliveries.lacks_places)
        may_record = UntilSet(deliveries.may_record, recorded, deliveries.lacks_places)
        claims = Loop("deliveries", claim, may_claim, stopping)
        records = Loop("delivery records", deliveries.record_once, may_record, recorded)

        def look() -> int:
            deliveries.may_claim.set()  # also without a wake-up: this is how often the outbox is looked at
            return 0

        Loop("delivery wake-ups", look, Wake.on(runtime, stopping, JOBS_FINAL, interval), stopping).start()
        with records.running():
            with claims.running():
                yield [claims, records]
            pool.shutdown()
        _record_the_rest(deliveries)


def _record_the_rest(deliveries: Deliveries) -> None:
    try:
        deliveries.record_once()
    except SQLAlchemyError as error:  # they are made again when their leases end
        log.warning("deliveries_unrecorded", reason=type(error).__name__)
