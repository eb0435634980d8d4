"""The servers and processes of a row: embedded Postgres and Redis, the simulator, dispatchers, workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from cli.stack.servers.postgres import EmbeddedPostgres
from cli.stack.servers.redis import EmbeddedRedis
from imagequeue.domain.ids import new_id
from imagequeue.domain.images import ImageRequest
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.operate.accounts import KeyTerms, open_account
from imagequeue.lifecycle.submit.submission import Accepted, Submission
from imagequeue.lifecycle.submit.submit import submit
from imagequeue.runtime import Runtime, open_database, open_runtime
from imagequeue.settings import Settings
from imagequeue.store.migration import migrate

ROOT = Path(__file__).resolve().parents[1]
KEY = "upstream-key"
SECRET_KEY = "the secret key of the benchmarks which opens nothing"  # noqa: S105  # no real secret
STOP_SECONDS = 20.0
"""Until a process is killed: it finishes its calls, which take about 1 s."""
LOOK_SECONDS = 0.2
"""Between two queries of `wait_for`: rarely enough not to disturb what is measured."""


@dataclass(slots=True)
class Stack:
    """Running servers, a migrated database, and the processes that were started on them."""

    directory: Path
    environment: dict[str, str]
    runtime: Runtime
    account_id: UUID
    simulator_url: str
    children: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def start(
        self, *arguments: str, program: Sequence[str] = ("cli",), descriptors: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a process of imagequeue; its output goes to a log file in the directory.

        It inherits the `descriptors`.
        """
        log = self.directory / f"{'-'.join(arguments[:1])}-{len(self.children)}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(  # noqa: S603  # this project's own program
                [sys.executable, "-m", *program, *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
            )
        self.children.append(child)
        return child

    def stop(self) -> None:
        """End the processes that were started."""
        for child in self.children:
            child.terminate()
        for child in self.children:
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children.clear()

    def open_account(self, name: str) -> UUID:
        """Open an account with funds; its id."""
        return _account(self.runtime, name)

    def submit(
        self, count: int, model_id: str, *, account_id: UUID | None = None, lane: Lane = Lane.INTERACTIVE
    ) -> list[UUID]:
        """Submit `count` jobs, for the stack's account if no other is given; their ids."""
        payer = account_id or self.account_id
        key_id = self._key_of(payer)
        submissions = [
            Submission(
                account_id=payer,
                api_key_id=key_id,
                request=ImageRequest(model_id=model_id, prompt=f"benchmark {number}"),
                dialect="pixazo",
                fingerprint=new_id().bytes,
                lane=lane,
            )
            for number in range(count)
        ]
        outcomes = submit(self.runtime, submissions, wake=lambda: None)
        return [outcome.job_id for outcome in outcomes if isinstance(outcome, Accepted)]

    def _key_of(self, account_id: UUID) -> UUID:
        with self.runtime.engine.connect() as connection:
            statement = text("SELECT id FROM api_keys WHERE account_id = :id")
            return connection.execute(statement, {"id": account_id}).scalar_one()

    def execute(self, statements: Sequence[str], **values: Any) -> None:
        """Run statements in one transaction without a time limit; each gets those `values` that it names."""
        with self.runtime.engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            for statement in statements:
                used = {name: value for name, value in values.items() if f":{name}" in statement}
                connection.execute(text(statement), used)

    def wait_for(self, count: str, least: int, seconds: float, **values: Any) -> None:
        """Wait until the query `count` returns at least `least`. The processes send no event to wait for.

        Raises:
            TimeoutError: it does not within `seconds`.
        """
        until = time.monotonic() + seconds
        while self.rows(count, **values)[0][0] < least:
            if time.monotonic() > until:
                raise TimeoutError(count)
            time.sleep(LOOK_SECONDS)

    def rows(self, query: str, **values: Any) -> list[Any]:
        """The rows of a query."""
        with self.runtime.engine.connect() as connection:
            return list(connection.execute(text(query), values))

    def simulator(self, path: str, **parameters: Any) -> dict[str, Any]:
        """The JSON answer of the simulator's route `/_sim/{path}`."""
        answer = httpx.get(
            f"{self.simulator_url}/_sim/{path}", params=parameters, timeout=60, trust_env=False
        )
        return answer.raise_for_status().json()


def deployment(name: str, model: str, rpm: int, **more: float) -> str:
    """A catalog entry for the upstream `name`: `rpm` calls per window; `more` has further keys."""
    fields: dict[str, str | float] = {
        "name": name,
        "model": model,
        "provider": "foundry",
        "upstream_model": "mai",
        "endpoint": f"{{simulator}}/{name}",
        "key_env": "BENCH_UPSTREAM_KEY",
        "rpm": rpm,
        "cold_start": "fresh",
        **more,
    }
    return "\n[[deployments]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())


@contextmanager
def running(
    upstreams: Mapping[str, Any], models: Sequence[str], catalog: str, *, durable: bool = False
) -> Generator[Stack]:
    """A stack with these upstreams in its simulator; `{simulator}` in the catalog is its URL.

    `durable`: fsync is on, as in production. Else the speed of the machine's disk would be in every number.
    """
    with ExitStack() as cleaning:
        directory = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="imagequeue-bench-")))
        unsafe = {} if durable else {"fsync": "off"}
        postgres = EmbeddedPostgres(directory / "postgres", extra_settings=unsafe)
        redis = EmbeddedRedis(directory / "redis")
        cleaning.enter_context(postgres.running())
        cleaning.enter_context(redis.running())
        simulator_url = cleaning.enter_context(_simulator(directory, upstreams))
        path = directory / "catalog.toml"
        path.write_text(_models(models) + catalog.replace("{simulator}", simulator_url), "utf-8")
        environment = _environment(directory, postgres.url, redis.url, path, simulator_url)
        runtime = _runtime(environment)
        cleaning.callback(runtime.close)
        stack = Stack(directory, environment, runtime, _account(runtime, "bench"), simulator_url)
        cleaning.callback(stack.stop)
        yield stack


def _models(models: Sequence[str]) -> str:
    fields = 'operations = ["generate", "edit"]\nprice_usd = "0.039"\n'
    return "".join(f'[[models]]\nid = "{model}"\n{fields}' for model in models)


def _environment(
    directory: Path, database_url: str, redis_url: str, catalog: Path, simulator_url: str
) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEQUEUE_")}
    return inherited | {
        "BENCH_UPSTREAM_KEY": KEY,
        "IMAGEQUEUE_DATABASE_URL": database_url,
        "IMAGEQUEUE_REDIS_URL": redis_url,
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
        "IMAGEQUEUE_STORAGE_URL": f"file://{directory / 'media'}",
        "IMAGEQUEUE_SPILL_DIR": str(directory / "spill"),
        "IMAGEQUEUE_EGRESS_ALLOW": simulator_url.removeprefix("http://"),
        "IMAGEQUEUE_LOG_LEVEL": "WARNING",
    }


def _runtime(environment: Mapping[str, str]) -> Runtime:
    os.environ["BENCH_UPSTREAM_KEY"] = KEY  # the catalog names it
    prefix = "IMAGEQUEUE_"
    given: dict[str, Any] = {
        name.removeprefix(prefix).lower(): value
        for name, value in environment.items()
        if name.startswith(prefix)
    }
    settings = Settings(**given)
    engine = open_database(settings, pool_size=1, name="bench")
    migrate(engine)
    engine.dispose()
    return open_runtime(settings, name="bench")


def _account(runtime: Runtime, name: str) -> UUID:
    issued = open_account(runtime.engine, runtime.keyring, name, KeyTerms(), Decimal(1_000_000))
    with runtime.engine.connect() as connection:
        statement = text("SELECT account_id FROM api_keys WHERE id = :id")
        return connection.execute(statement, {"id": issued.id}).scalar_one()


@contextmanager
def _simulator(directory: Path, upstreams: Mapping[str, Any]) -> Generator[str]:
    config = directory / "simulator.json"
    config.write_text(json.dumps({"upstreams": upstreams}), "utf-8")
    command = [sys.executable, "-m", "simulator", "--port", "0", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:  # noqa: S603  # this project's own program
        try:
            line = child.stdout.readline().decode() if child.stdout else ""
            if not line.startswith("simulator "):
                raise RuntimeError("the simulator did not start")
            yield line.split()[1]
        finally:
            child.terminate()
