"""The back half in one process: a database, a storage, a simulator, and every verb to be called by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import Engine, text

from imagequeue import wiring
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.ids import new_id
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.dispatch.dispatch import Dispatch
from imagequeue.lifecycle.generate.available_slots import StorageHealth
from imagequeue.lifecycle.generate.punctuality import Punctuality
from imagequeue.lifecycle.generate.worker_process import WorkerProcess
from imagequeue.lifecycle.submit.submission import Accepted, Submission
from imagequeue.lifecycle.submit.submit import submit
from imagequeue.runtime import Runtime
from imagequeue.store import processes
from imagequeue.store.attempts.calls import Doorbell
from imagequeue.store.attempts.quota import ensure_groups
from imagequeue.store.processes import ProcessRecord
from simulator.config import SimulatorConfig
from tests import builders
from tests.loopback import NO_TLS
from tests.servers import SimulatorThread

PIXAZO = {
    "provider": "pixazo",
    "keys": ["upstream-key"],
    "models": {builders.MODEL: {"rpm": 1000, "latency_ms": [0, 0]}},
}
UPSTREAM = {
    "provider": "foundry",
    "keys": ["upstream-key"],
    "models": {"mai-image-2-5": {"rpm": 1000, "latency_ms": [0, 0]}},
}
UPSTREAMS = {"east": UPSTREAM, "west": UPSTREAM, "pixazo": PIXAZO}


@dataclass(slots=True)
class SeenDispatch(Dispatch):
    """A dispatcher whose passes begin with `beat`: no thread beats, and a busy machine is slow."""

    beat: Callable[[], None] = lambda: None

    def run_once(self) -> int:
        """One pass."""
        self.beat()
        return Dispatch.run_once(self)


@dataclass
class Pipeline:
    """Everything between an accepted submit and a settled job, driven by hand.

    If it `is_punctual`, a start whose moment has passed is moved to the moment of its answer, so that a busy
    machine misses none. Where a quota is what is tested it is not, because such a call comes too late for it.
    `came` is notified whenever `final` has grown.
    """

    runtime: Runtime
    simulator: SimulatorThread
    directory: Path
    account_id: UUID
    process_id: UUID = field(default_factory=new_id)
    rung: list[Doorbell] = field(default_factory=list[Doorbell])
    final: list[UUID] = field(default_factory=list[UUID])
    came: threading.Condition = field(default_factory=threading.Condition)
    is_punctual: bool = True
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        runtime, process = self.runtime, WorkerProcess(self.process_id, self.stopping, Punctuality(64))
        self.settlement = wiring.settlement(runtime, self.announce)
        self.health = StorageHealth()
        self.image_storer = wiring.image_storer(runtime, self.health, self.stopping)
        self.spill = self.image_storer.spill
        self.fetching = wiring.fetching(runtime, self.settlement, lambda: None, self.stopping)
        self.generation = wiring.generation(runtime, process, self.image_storer, self.settlement)
        dispatch = wiring.dispatch(runtime, self.ring)
        self.dispatch = SeenDispatch(dispatch.engine, dispatch.eligibility, self.ring, beat=self.beat)
        self.polls = wiring.polls(runtime, self.ring, lambda _: 0)
        self.sweep = wiring.sweep(runtime, self.settlement, self.ring, lambda _: 0)
        self.rescue = self.sweep.rescue
        with self.runtime.engine.begin() as connection:
            ensure_groups(connection, self.runtime.catalog.quota_groups.values())
        self.register(self.process_id)

    def register(self, process_id: UUID, slots: int = 64) -> None:
        """Let a worker process with so many slots live."""
        lanes = tuple(f"generate.{lane}" for lane in Lane)
        with self.runtime.engine.begin() as connection:
            processes.register(
                connection,
                ProcessRecord(
                    process_id, "worker", "test", 1, (*lanes, "deliveries"), slots * len(lanes), slots
                ),
            )

    def close(self) -> None:
        """Close the connections to upstreams and to Redis; the engine is the test's."""
        self.generation.upstreams.client.close()
        self.runtime.redis.close()

    def beat(self) -> None:
        """Be seen, so that a long test on a busy machine does not lose its slots."""
        fresh = "UPDATE processes SET beat_at = clock_timestamp() WHERE id = :id"
        self.execute(fresh, id=self.process_id)

    def announce(self, final: Sequence[UUID]) -> None:
        """Take what the API's watchers are told: jobs that are final now."""
        with self.came:
            self.final.extend(final)
            self.came.notify_all()

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        """Take doorbells instead of Celery."""
        self.rung.extend(doorbells)

    def submit(self, count: int = 1, **changes: Any) -> list[UUID]:
        """Submit jobs; keywords of an ImageRequest, or of a Submission, change them."""
        asked = {
            name: changes.pop(name) for name in list(changes) if name in ImageRequest.__dataclass_fields__
        }
        (key,) = self.rows(
            "SELECT id FROM api_keys WHERE account_id = :id ORDER BY id LIMIT 1", id=self.account_id
        )
        named: dict[str, Any] = {"dialect": "pixazo"} | changes
        submissions = [
            Submission(
                account_id=self.account_id,
                api_key_id=key.id,
                request=_request(number, asked),
                fingerprint=new_id().bytes,
                **named,
            )
            for number in range(count)
        ]
        outcomes = submit(self.runtime, submissions, wake=lambda: None)
        return [outcome.job_id for outcome in outcomes if isinstance(outcome, Accepted)]

    def fetch(self) -> int:
        """Fetch the input images that are due; of how many jobs."""
        fetched = 0
        while (job := self.fetching.claim(Lane)) is not None:
            self.fetching.run(job)
            fetched += 1
        return fetched

    def answer(self) -> int:
        """Answer every doorbell that was rung; how many."""
        rung, self.rung[:] = list(self.rung), []
        for doorbell in rung:
            if self.is_punctual:
                self.start_now(doorbell.attempt_id)
            self.generation.run(doorbell.attempt_id)
        return len(rung)

    def start_now(self, attempt_id: UUID) -> None:
        """Let the start of a call that waits for a worker be now, if it lies behind."""
        now = "UPDATE attempts SET slot_at = clock_timestamp() WHERE id = :id AND state = 'RELEASED'"
        self.execute(f"{now} AND slot_at < clock_timestamp()", id=attempt_id)

    def run(self) -> None:
        """Fetch, dispatch and answer until nothing is left to do now."""
        self.fetch()
        self.beat()
        while self.dispatch.run_once():
            self.answer()
            self.beat()

    def poll(self) -> None:
        """Let every sleeping attempt ask for its result now."""
        self.beat()
        self.execute("UPDATE attempts SET poll_after = clock_timestamp() WHERE state = 'SLEEPING'")
        self.execute("UPDATE attempts SET poll_leased_until = NULL WHERE polled_by IS NULL")  # lost doorbells
        self.polls.run_once()
        self.answer()

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Ask the database."""
        with self.runtime.engine.begin() as connection:
            return list(connection.execute(text(query), values))

    def execute(self, statement: str, **values: Any) -> None:
        """Change the database."""
        with self.runtime.engine.begin() as connection:
            connection.execute(text(statement), values)

    def status(self, job_id: UUID) -> str:
        """A job's status."""
        return self.rows("SELECT status FROM jobs WHERE id = :id", id=job_id)[0].status

    def states(self, job_id: UUID) -> list[str]:
        """The states of a job's attempts, oldest first."""
        rows = self.rows("SELECT state FROM attempts WHERE job_id = :id ORDER BY id", id=job_id)
        return [row.state for row in rows]

    def calls(self) -> list[dict[str, Any]]:
        """The simulator's log."""
        return httpx.get(f"{self.simulator.url}/_sim/log", trust_env=False, verify=NO_TLS).json()["entries"]

    def heal(self) -> None:
        """Take every fault out of the simulator."""
        url = f"{self.simulator.url}/_sim/faults"
        httpx.delete(url, trust_env=False, verify=NO_TLS).raise_for_status()

    def fault(self, **fault: Any) -> None:
        """Arm a fault in the simulator."""
        httpx.post(
            f"{self.simulator.url}/_sim/faults", json=fault, trust_env=False, verify=NO_TLS
        ).raise_for_status()


def _request(number: int, asked: dict[str, Any]) -> ImageRequest:
    named: dict[str, Any] = {"model_id": builders.MODEL, "prompt": f"job {number}", **asked}
    return ImageRequest(**named)


class RunningPipeline(AbstractContextManager[Pipeline]):
    """A pipeline with its simulator; keywords are those of the deployment in the catalog.

    `catalog` makes another one, for a simulator at the given URL that has `upstreams`. `public_url` is where
    they call back.
    """

    def __init__(
        self,
        engine: Engine,
        database_url: str,
        directory: Path,
        *,
        upstream: str = "east",
        allow: str = "",
        public_url: str = builders.NO_API,
        upstreams: Mapping[str, Any] = UPSTREAMS,
        catalog: Callable[[str], Catalog] | None = None,
        **deployment: Any,
    ) -> None:
        self._upstream, self._allow, self._catalog = upstream, allow, catalog or self._one_deployment
        self._public_url = public_url
        self._simulator = SimulatorThread(SimulatorConfig.model_validate({"upstreams": upstreams}))
        self._engine, self._database_url, self._directory = engine, database_url, directory
        self._deployment = {"cold_start": "fresh", "guard_ms": 0, "pace": False} | deployment
        self._pipeline: Pipeline | None = None

    def __enter__(self) -> Pipeline:
        simulator = self._simulator.__enter__()
        storage_url = f"file://{self._directory / 'media'}"
        runtime = builders.runtime(
            self._engine,
            self._database_url,
            of=self._catalog(simulator.url),
            storage_url=storage_url,
            spill_dir=self._directory / "spill",
            public_url=self._public_url,
            egress_allow=f"127.0.0.1:{simulator.port}, {self._allow}".rstrip(", "),
        )
        account_id, _ = builders.account(self._engine, "acme", funds="1000")
        self._pipeline = Pipeline(runtime, simulator, self._directory, account_id)
        return self._pipeline

    def _one_deployment(self, simulator_url: str) -> Catalog:
        return builders.catalog(f"{simulator_url}/{self._upstream}", **self._deployment)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipeline:
            self._pipeline.close()
        self._simulator.__exit__(kind, error, trace)
