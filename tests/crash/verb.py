"""`python -m tests.crash.verb`: runs verbs in processes of their own, which die in them.

Each order is a fork of this process, so that a death costs no start. The verbs are the real ones, put
together as `tests/pipeline.py` does; where Celery matters, the real worker is started instead.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from imagequeue import backfill_wiring, wiring
from imagequeue.redis_server.address import read_redis_url
from imagequeue.store.database import open_engine
from imagequeue.store.migration import migrate
from tests import builders
from tests.backfill import Backfill
from tests.lifecycle.deliver.by_hand import deliver_once
from tests.pipeline import Pipeline
from tests.servers import SimulatorThread


@dataclass(frozen=True, slots=True)
class Place:
    """Where a verb is run."""

    database_url: str
    directory: str
    simulator: str
    allow: str
    redis_url: str
    deployment: dict[str, Any]
    upstream: str
    process_id: str
    public_url: str = builders.NO_API

    def pipeline(self) -> Pipeline:
        """A pipeline of this process on the servers of the test."""
        engine = open_engine(self.database_url, pool_size=4, name="crash")
        runtime = builders.runtime(
            engine,
            self.database_url,
            of=builders.catalog(f"{self.simulator}/{self.upstream}", **self.deployment),
            storage_url=f"file://{self.directory}/media",
            spill_dir=f"{self.directory}/spill",
            webhook_schedule="0,1",
            public_url=self.public_url,
            egress_allow=self.allow,
        )
        simulator = cast("SimulatorThread", SimpleNamespace(url=self.simulator))
        process_id = UUID(self.process_id)
        return Pipeline(runtime, simulator, Path(self.directory), process_id, process_id=process_id)


def _dispatch(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    pipeline.dispatch.run_once()


def _dispatch_and_ring(pipeline: Pipeline, place: Place, argument: str) -> None:
    from worker.app import make_app  # noqa: PLC0415  # Celery only where it is rung
    from worker.celery_publisher import CeleryPublisher  # noqa: PLC0415

    del argument
    pipeline.dispatch.release = CeleryPublisher(
        make_app(read_redis_url(place.redis_url)), pipeline.runtime.redis
    ).attempts
    pipeline.dispatch.run_once()


def _fetch(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    pipeline.fetch()


def _generate(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place
    pipeline.start_now(UUID(argument))
    pipeline.generation.run(UUID(argument))


def _poll(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    pipeline.polls.run_once()
    pipeline.answer()


def _sweep(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    pipeline.sweep.run_once()


def _validate(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    validation = backfill_wiring.validation(pipeline.runtime, threading.Event())
    while validation.run_once():
        pass


def _expand(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    Backfill(pipeline).expand()


def _supervise(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    Backfill(pipeline).supervision.run_once()


def _write_results(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    backfill_wiring.result_files(pipeline.runtime, threading.Event()).run_once()


def _deliver(pipeline: Pipeline, place: Place, argument: str) -> None:
    del place, argument
    deliver_once(pipeline.runtime)


def _deliver_all(place: Place) -> None:
    """Deliver until nothing is due, one at a time. No whole pipeline: it is started 200 times."""
    engine = open_engine(place.database_url, pool_size=2, name="crash")
    runtime = builders.runtime(engine, place.database_url, egress_allow=place.allow)
    with ThreadPoolExecutor(1) as pool:
        deliveries = wiring.deliveries(runtime, pool, 1)
        while deliveries.run_once():
            deliveries.may_record.wait()
            deliveries.may_record.clear()
            deliveries.record_once()


_VERBS = {
    "dispatch": _dispatch,
    "dispatch-and-ring": _dispatch_and_ring,
    "fetch": _fetch,
    "generate": _generate,
    "poll": _poll,
    "sweep": _sweep,
    "validate": _validate,
    "expand": _expand,
    "supervise": _supervise,
    "write-results": _write_results,
    "deliver": _deliver,
}


def _run(order: dict[str, Any]) -> None:
    """Run one verb, in a process that may die of it."""
    os.environ["IMAGEQUEUE_FAILPOINT"] = order["failpoint"]
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    place = Place(**order["place"])
    if order["verb"] == "migrate":
        migrate(open_engine(place.database_url, pool_size=1, name="crash"))
    elif order["verb"] == "deliver-all":
        _deliver_all(place)
    else:
        _VERBS[order["verb"]](place.pipeline(), place, order["argument"])


def main() -> None:
    """Say 0 when ready; fork for each order (a line of JSON); answer with the pid, then with its status."""
    _say(0)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                _run(json.loads(line))
            except BaseException:  # noqa: BLE001  # a fork must not go on as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _say(pid)
        _, status = os.waitpid(pid, 0)
        _say(os.waitstatus_to_exitcode(status))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
