"""Row `claim`: what a grant with its claim costs over a million waiting jobs.

Source: docs/design/pipeline.md, "Dispatch".

One batch of a million jobs and a thousand accounts with twenty each wait. Every turn of the dispatcher
finds the flows, locks the quota group, counts its tokens, claims by turns and inserts attempts. First while
a transaction that began before the load holds its snapshot, so that no dead row can be vacuumed: a hundred
thousand jobs that the batch has had before, and whatever is claimed, stay at the front of their flows' index,
and only the cursors step over them. Then without.
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
WARM_UP, TURNS, AT_ONCE = 120, 400, 10
TARGET_MS = 5.0

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
    # As when they had been claimed: each leaves a dead row at the front of the batch.
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
    """Milliseconds of every turn, of its last transaction (the grant), and of the statement that claims."""

    turns: list[float] = field(default_factory=list[float])
    grants: list[float] = field(default_factory=list[float])
    claims: list[float] = field(default_factory=list[float])
    began: float = 0.0
    grant: float = 0.0
    asked: float = 0.0

    def watch(self, engine: Engine) -> None:
        """Note what the engine does from now on."""
        event.listen(engine, "begin", self._begun)
        event.listen(engine, "commit", self._committed)
        event.listen(engine, "before_cursor_execute", self._asked)
        event.listen(engine, "after_cursor_execute", self._answered)

    def turn(self, dispatch: Dispatch) -> int:
        """Let the dispatcher turn once; how many calls were granted."""
        began = time.perf_counter()
        granted = dispatch.run_once()
        self.turns.append((time.perf_counter() - began) * 1000)
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
    """The time that this share of them did not exceed."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def run() -> list[Line]:
    """Measure with and without somebody's old snapshot."""
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
        _load(engine)
        held = _measure(engine)
        holder.rollback()
        _vacuum(engine)
        free = _measure(engine)
    return [*_lines("no old snapshot", free), *_lines("snapshot from before the load", held)]


def _hold(connection: Connection) -> None:
    connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
    connection.commit()
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    connection.execute(text("SELECT count(*) FROM jobs"))


def _load(engine: Engine) -> None:
    values = {
        "accounts": ACCOUNTS,
        "batch": BATCH + BEFORE,
        "before": BEFORE,
        "each": EACH,
        "model": MODEL,
    }
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in _LOAD:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), used)
        ensure_groups(connection, _catalog().quota_groups.values())
    _vacuum(engine)


def _vacuum(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        for table in ("jobs", "attempts", "flows", "accounts", "quota_groups"):
            connection.execute(text(f"VACUUM ANALYZE {table}"))


def _measure(engine: Engine) -> Stopwatch:
    queues = ("generate.interactive", "generate.backfill")
    worker = ProcessRecord(new_id(), "worker", "bench", 1, queues, 10**6)
    with engine.begin() as connection:
        processes.register(connection, worker)
    dispatch = Dispatch(engine, Eligibility(_catalog()), lambda _: None, at_once=AT_ONCE)
    for _ in range(WARM_UP):  # learns the flows, and where the batch begins
        dispatch.run_once()
    watch = Stopwatch()
    dispatch.engine = engine.execution_options()  # the same pool; only what the dispatcher does is timed
    watch.watch(dispatch.engine)
    for _ in range(TURNS):
        with engine.begin() as connection:
            processes.beat(connection, worker.id, worker.slots)
        if watch.turn(dispatch) != AT_ONCE:
            raise RuntimeError("a turn of the dispatcher granted less than it could")
    return watch


def _lines(what: str, watch: Stopwatch) -> Iterator[Line]:
    worst = percentile(watch.claims, 0.99)
    median = percentile(watch.claims, 0.5)
    yield Line("claim", f"{what}: claim of {AT_ONCE} jobs, median", f"{median:.2f} ms")
    yield Line("claim", f"{what}: the same, p99", f"{worst:.2f} ms", "< 5 ms", worst < TARGET_MS)
    for name, times in (("transaction of the grant", watch.grants), ("whole turn", watch.turns)):
        both = f"{percentile(times, 0.5):.2f} / {percentile(times, 0.99):.2f} ms"
        yield Line("claim", f"{what}: {name}, median / p99", both)


def _catalog() -> Catalog:
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
