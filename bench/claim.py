"""Row `claim`: what a grant with its claim costs while a million jobs wait.

Source: docs/design/pipeline.md, "Dispatch".

One batch of a million jobs waits, and a thousand accounts with twenty jobs each. Every pass of the dispatcher
finds the flows, plans, locks the quota group, counts its tokens, claims jobs and inserts attempts.

It is measured twice. The first time a transaction that began before the load holds its snapshot, so no dead
row can be vacuumed: a hundred thousand earlier jobs of the batch, and those that are claimed, stay at the
front of their flows' index, and the cursors step over them. The second time there is no such transaction.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Engine, event, text

from bench.stack import KEY
from bench.table import Line
from cli.stack.servers.postgres import EmbeddedPostgres
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.dispatch.dispatch import Dispatch
from imagequeue.lifecycle.dispatch.eligibility import Eligibility
from imagequeue.providers.registry import PROVIDERS
from imagequeue.store import processes
from imagequeue.store.attempts.quota import ensure_groups
from imagequeue.store.database import open_engine
from imagequeue.store.migration import migrate
from imagequeue.store.processes import ProcessRecord

MODEL = "microsoft-mai-image-2-5"
BATCH, BEFORE, ACCOUNTS, EACH = 1_000_000, 100_000, 1_000, 20
"""Jobs of the batch that wait, and that were claimed before; the other accounts, and the jobs of each."""
WARM_UP, PASSES, AT_ONCE = 120, 400, 10
"""Passes before the measurement, and of it (four are slower than the p99); calls that each pass grants."""
TARGET_MS = 5.0
"""For the claim, p99."""

_LOAD = (
    """
    INSERT INTO accounts (id, name, webhook_secrets)
    SELECT gen_random_uuid(), 'account ' || number, '' FROM generate_series(0, :accounts) AS number
    """,
    """
    INSERT INTO flows (model_id, requirement, account_id, lane)
    SELECT :model, 'generate/auto/1/png/0/4000', id,
        CASE WHEN name = 'account 0' THEN 'backfill' ELSE 'interactive' END
    FROM accounts
    """,
    # Ids as UUIDv7 has them: they grow with time, a millisecond for each.
    """
    INSERT INTO jobs (id, account_id, flow_id, status, image_count, wanted, price_usd)
    SELECT (
            lpad(to_hex((extract(epoch FROM now() - interval '1 hour') * 1000)::bigint + number), 12, '0')
            || '7000' || '8' || lpad(to_hex(flows.id), 15, '0')
        )::uuid,
        account_id, flows.id, 'QUEUED', 1, 1, 0
    FROM flows
    CROSS JOIN LATERAL generate_series(1, CASE lane WHEN 'backfill' THEN :batch ELSE :each END) AS number
    """,
    # As if they had been claimed: each leaves a dead row at the front of the batch.
    """
    UPDATE jobs SET status = 'PROCESSING', wanted = 0
    WHERE id IN (
        SELECT jobs.id FROM jobs JOIN flows ON flows.id = flow_id
        WHERE lane = 'backfill' ORDER BY jobs.id LIMIT :before
    )
    """,
    """
    INSERT INTO job_requests (job_id, prompt, parameters, dialect)
    SELECT jobs.id, 'p', '{}', 'pixazo'
    FROM jobs JOIN accounts ON accounts.id = account_id WHERE name <> 'account 0'
    """,
)


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds of each pass, of its last transaction (the grant), and of each statement that claims.

    Of the present pass: `began` and `asked` are seconds of `time.perf_counter`, `grant` is milliseconds.
    """

    passes: list[float] = field(default_factory=list[float])
    grants: list[float] = field(default_factory=list[float])
    claims: list[float] = field(default_factory=list[float])
    began: float = 0.0
    grant: float = 0.0
    asked: float = 0.0

    def watch(self, engine: Engine) -> None:
        """Measure the transactions and statements of the engine from now on."""
        event.listen(engine, "begin", self._begun)
        event.listen(engine, "commit", self._committed)
        event.listen(engine, "before_cursor_execute", self._asked)
        event.listen(engine, "after_cursor_execute", self._answered)

    def measure_pass(self, dispatch: Dispatch) -> int:
        """Let the dispatcher make one pass; how many calls it granted."""
        began = time.perf_counter()
        granted = dispatch.run_once()
        self.passes.append((time.perf_counter() - began) * 1000)
        self.grants.append(self.grant)
        return granted

    def _begun(self, *_: object) -> None:
        self.began = time.perf_counter()

    def _committed(self, *_: object) -> None:
        self.grant = (time.perf_counter() - self.began) * 1000

    def _asked(self, *_: object) -> None:
        self.asked = time.perf_counter()

    def _answered(self, connection: object, cursor: object, statement: str, *_: object) -> None:
        del connection, cursor
        if "SKIP LOCKED" in statement:
            self.claims.append((time.perf_counter() - self.asked) * 1000)


def percentile(times: list[float], share: float) -> float:
    """The time that `share` (0 to 1) of the times do not exceed."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def run() -> list[Line]:
    """Measure with and without an old snapshot."""
    with ExitStack() as cleaning:
        directory = Path(cleaning.enter_context(TemporaryDirectory(prefix="imagequeue-bench-")))
        server = EmbeddedPostgres(directory / "postgres", extra_settings={"fsync": "off"})
        cleaning.enter_context(server.running())
        url = server.url.replace("postgresql://", "postgresql+psycopg://")
        engine = open_engine(url, pool_size=4, name="bench")
        cleaning.callback(engine.dispose)
        migrate(engine)
        holder = cleaning.enter_context(engine.connect())
        _hold(holder)
        load(engine, BATCH, before=BEFORE, accounts=ACCOUNTS)
        held = measure(engine, PASSES, WARM_UP)
        holder.rollback()
        _vacuum(engine)
        free = measure(engine, PASSES, WARM_UP)
    return [*_lines("no old snapshot", free), *_lines("snapshot from before the load", held)]


def _hold(connection: Connection) -> None:
    connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
    connection.commit()
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    connection.execute(text("SELECT count(*) FROM jobs"))


def load(engine: Engine, batch: int, *, before: int = 0, accounts: int = 0) -> None:
    """Store a batch with so many waiting jobs behind `before` that were claimed, and accounts with jobs."""
    values = {
        "accounts": accounts,
        "batch": batch + before,
        "before": before,
        "each": EACH,
        "model": MODEL,
    }
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in _LOAD:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), used)
        ensure_groups(connection, catalog().quota_groups.values())
    _vacuum(engine)


def _vacuum(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        for table in ("jobs", "attempts", "flows", "accounts", "quota_groups"):
            connection.execute(text(f"VACUUM ANALYZE {table}"))


def measure(engine: Engine, passes: int, warm_up: int) -> Stopwatch:
    """Measure so many passes of a new dispatcher."""
    queues = ("generate.interactive", "generate.backfill")
    worker = ProcessRecord(new_id(), "worker", "bench", 1, queues, 10**6)
    with engine.begin() as connection:
        processes.register(connection, worker)
    dispatch = Dispatch(engine, Eligibility(catalog()), lambda _: None, at_once=AT_ONCE)
    for _ in range(warm_up):  # the dispatcher learns the flows, and where the batch begins
        dispatch.run_once()
    watch = Stopwatch()
    dispatch.engine = engine.execution_options()  # the same pool, but only the dispatcher is measured
    watch.watch(dispatch.engine)
    for _ in range(passes):
        with engine.begin() as connection:
            processes.beat(connection, worker.id, worker.slots)
        if watch.measure_pass(dispatch) != AT_ONCE:
            raise RuntimeError("a pass of the dispatcher granted less than it could")
    return watch


def _lines(what: str, watch: Stopwatch) -> Iterator[Line]:
    worst = percentile(watch.claims, 0.99)
    median = percentile(watch.claims, 0.5)
    yield Line("claim", f"{what}: claim of {AT_ONCE} jobs, median", f"{median:.2f} ms")
    yield Line("claim", f"{what}: the same, p99", f"{worst:.2f} ms", "< 5 ms", worst < TARGET_MS)
    for name, times in (("transaction of the grant", watch.grants), ("whole pass", watch.passes)):
        both = f"{percentile(times, 0.5):.2f} / {percentile(times, 0.99):.2f} ms"
        yield Line("claim", f"{what}: {name}, median / p99", both)


def catalog() -> Catalog:
    """One deployment whose quota never runs out."""
    deployment = {
        "name": "east",
        "model": MODEL,
        "provider": "foundry",
        "upstream_model": "mai",
        "endpoint": "http://127.0.0.1:9",
        "key_env": "KEY",
        "rpm": 100_000,
        "pace": False,
        "cold_start": "fresh",
        "max_in_flight": 10**6,
    }
    return parse_catalog(
        {"models": [{"id": MODEL, "price_usd": "0"}], "deployments": [deployment]}, {"KEY": KEY}, PROVIDERS
    )
