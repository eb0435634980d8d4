"""A pipeline, and processes that run a verb on it and die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from imagequeue.domain.ids import new_id
from imagequeue.settings import PREFIX
from tests.builders import NO_API, NO_REDIS
from tests.crash.verb import Place
from tests.pipeline import UPSTREAMS, Pipeline, RunningPipeline

OMIXA = {
    "provider": "omixa",
    "keys": ["upstream-key"],
    "models": {"MAI-Image-2.5": {"rpm": 1000, "latency_ms": [0, 0]}},
}


class Mother:
    """The process whose forks run verbs. Made once it is ready: no start window waits for it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        self._orders, self._answers = process.stdin, process.stdout
        assert self.end() == 0

    def begin(self, order: dict[str, Any]) -> int:
        """Give an order; the pid of who does it."""
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        return int(self._answers.readline())

    def end(self) -> int:
        """Wait for the end of the order; the exit code, negative for a signal."""
        return int(self._answers.readline())


@pytest.fixture(scope="package")
def mother() -> Iterator[Mother]:
    """One for all tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [sys.executable, "-m", "tests.crash.verb"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Mother(process)
        process.kill()


@dataclass
class Crash:
    """A pipeline in this process, and the means to run a verb in another one that dies at a failpoint."""

    pipeline: Pipeline
    place: Place
    mother: Mother
    exits: ExitStack

    def start(self, verb: str, argument: object = "", failpoint: str = "") -> int:
        """Begin to run a verb in a process of its own; its pid."""
        place = asdict(self.place) | {"process_id": str(new_id())}
        order = {"verb": verb, "place": place, "argument": str(argument), "failpoint": failpoint}
        return self.mother.begin(order)

    def run(self, verb: str, argument: object = "", failpoint: str = "") -> int:
        """Run a verb to its end; the exit code."""
        self.start(verb, argument, failpoint)
        return self.mother.end()

    def die(self, verb: str, at: str, argument: object = "") -> None:
        """Run a verb until the failpoint `at` kills it."""
        code = self.run(verb, argument, f"{at}:kill")
        assert code == -signal.SIGKILL, f"{verb} did not come by {at}"
        # The server notices a moment later that the session is gone; until then its rows are locked.
        self.pipeline.execute("LOCK TABLE attempts, jobs, deliveries IN ACCESS EXCLUSIVE MODE")

    def release(self, **asked: Any) -> tuple[Any, Any]:
        """A job, and its first attempt, which is released."""
        (job_id,) = self.pipeline.submit(**asked)
        self.pipeline.dispatch.run_once()
        doorbell = self.pipeline.rung[0]
        self.pipeline.rung.clear()
        return job_id, doorbell.attempt_id

    def bury(self) -> None:
        """Let the dead processes be found: the failure detector has watched for 20 s."""
        self.pipeline.execute("DELETE FROM processes WHERE id <> :id", id=self.pipeline.process_id)

    def recover(self) -> None:
        """What the sweep and the dispatcher do until nothing is left to do."""
        self.bury()
        self.pipeline.execute(
            "UPDATE attempts SET release_deadline = clock_timestamp() - interval '1 s'"
            " WHERE state = 'RELEASED'"
        )
        self.pipeline.sweep.run_once()
        self.pipeline.answer()
        self.pipeline.execute("UPDATE job_failures SET not_before = clock_timestamp()")
        self.pipeline.run()

    def kinds(self) -> list[str]:
        """What happened to the money of jobs, in order."""
        rows = self.pipeline.rows("SELECT kind FROM ledger_entries WHERE job_id IS NOT NULL ORDER BY id")
        return [row.kind for row in rows]

    def generated(self) -> list[int]:
        """How many images each upstream call asked for."""
        return [call["image_count"] for call in self.pipeline.calls() if call["operation"] == "generate"]


MakeCrash = Callable[..., Crash]


@pytest.fixture
def make_crash(engine: Engine, database_url: str, tmp_path: Path, mother: Mother) -> Iterator[MakeCrash]:
    """Makes a `Crash`; keywords: the deployment's, and `upstream`, `allow`, `redis_url`, `public_url`."""
    with ExitStack() as exits:

        def make(
            *,
            upstream: str = "east",
            allow: str = "",
            redis_url: str = "",
            public_url: str = NO_API,
            **deployment: Any,
        ) -> Crash:
            running = RunningPipeline(
                engine,
                database_url,
                tmp_path,
                upstream=upstream,
                upstreams=UPSTREAMS | {"omixa": OMIXA},
                allow=allow,
                public_url=public_url,
                **deployment,
            )
            pipeline = exits.enter_context(running)
            terms = {"cold_start": "fresh", "guard_ms": 0, "pace": False} | deployment
            place = Place(
                database_url=database_url,
                directory=str(tmp_path),
                simulator=pipeline.simulator.url,
                allow=f"127.0.0.1:{pipeline.simulator.port}, {allow}".rstrip(", "),
                redis_url=redis_url or NO_REDIS,
                public_url=public_url,
                deployment=terms,
                upstream=upstream,
                process_id=str(new_id()),
            )
            return Crash(pipeline, place, mother, exits.enter_context(ExitStack()))

        yield make


@pytest.fixture
def crash(make_crash: MakeCrash) -> Crash:
    """One Foundry deployment."""
    return make_crash()
