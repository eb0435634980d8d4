"""The evidence of a run: Postgres, the storage, and the logs of upstreams, receiver, stack and clients."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from chaos.backfill_lines import BackfillRecord
from chaos.faults import Fault
from chaos.hostile.exchange import Exchange
from chaos.notes import Notes
from chaos.orders import Order
from chaos.receiver import Receipt
from chaos.redis_lists import ListLength
from chaos.stack import Life
from chaos.upstreams import SERVING
from chaos.waiting_kinds import KINDS
from chaos.weather import Spell

Row = dict[str, Any]

_TABLES: dict[str, LiteralString] = {
    "jobs": """
        SELECT jobs.*, extract(epoch FROM jobs.created_at)::float8 AS created,
            extract(epoch FROM finished_at)::float8 AS finished, prompt, webhook_url, job_results.body,
            flows.model_id
        FROM jobs JOIN flows ON flows.id = jobs.flow_id JOIN job_requests ON job_requests.job_id = jobs.id
        LEFT JOIN job_results ON job_results.job_id = jobs.id
    """,
    "attempts": """
        SELECT *, extract(epoch FROM created_at)::float8 AS created,
            extract(epoch FROM called_at)::float8 AS called,
            extract(epoch FROM finished_at)::float8 AS finished
        FROM attempts
    """,
    "images": "SELECT * FROM images ORDER BY job_id, ordinal",
    "ledger": "SELECT * FROM ledger_entries",
    "wallets": "SELECT * FROM wallets",
    "events": "SELECT * FROM events ORDER BY id",
    "deliveries": """
        SELECT *, extract(epoch FROM created_at)::float8 AS created,
            extract(epoch FROM finished_at)::float8 AS finished
        FROM deliveries
    """,
    "lines": "SELECT custom_id, state, retries FROM batch_lines",
    "batches": "SELECT id, state FROM batches WHERE NOT dry_run",
    "processes": """
        SELECT *, extract(epoch FROM clock_timestamp() - beat_at)::float8 AS age FROM processes
    """,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one invariant found: what it counted, by name, and a sentence for each violation."""

    invariant: str
    counts: Mapping[str, object]
    violations: Sequence[str]


@dataclass(slots=True)
class Evidence:
    """Everything that is left of a run. Times are seconds since the epoch.

    Attributes:
        tables: the rows of each table, by its name.
        objects: the contents of the storage, by storage key.
        calls: the entries of the simulator's log (docs/simulator.md, "What counts").
        faults, spells: what was done to our own processes, and weather over the upstreams that lasted.
        lists, list_looks: the lengths of the lists in Redis that had messages, and how often it was looked.
        logged: the structured log lines of the stack's processes, oldest first.
        calm_at: when the faults had ended.
        drained_at: when nothing was open any more; None if that took too long.
        hands: what did not work without a person after the run.
        hostile: the connections of the hostile client.
        pids: the pid of each process that registered, by its process id.
        by_job: the rows of a table by job id, for the tables that have one.
        by_deployment: the attempts of each deployment.
        faulted: when calls met a fault, by upstream.
        stored: how many images each attempt brought, without duplicates.
        kinds: the kind of client that waits for a job, by the job's prompt.
    """

    tables: dict[str, list[Row]]
    objects: Mapping[str, bytes]
    refused_puts: int
    calls: list[Row]
    receipts: list[Receipt]
    notes: Notes
    orders: list[Order]
    backfill: BackfillRecord
    faults: list[Fault]
    spells: list[Spell]
    lists: list[ListLength]
    list_looks: int
    lives: list[Life]
    logged: list[Row]
    calm_at: float
    drained_at: float | None
    hands: list[str]
    hostile: list[Exchange]
    pids: dict[str, int] = field(default_factory=dict[str, int])
    by_job: dict[str, dict[Any, list[Row]]] = field(default_factory=dict[str, dict[Any, list[Row]]])
    by_deployment: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    faulted: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    stored: Counter[UUID] = field(default_factory=Counter[UUID])
    kinds: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.pids = {
            str(line["process_id"]): int(line["pid"])
            for line in self.logged
            if line.get("event") == "process_registered"
        }
        self.kinds = {order.prompt: order.waiting for order in self.orders if order.waiting}
        self.by_deployment = _grouped(self.tables["attempts"], "deployment")
        self.faulted = {
            upstream: [moment_of(call["wall_time"]) for call in calls if call["fault"]]
            for upstream, calls in _grouped(self.calls, "upstream").items()
        }
        self.stored = Counter(image["attempt_id"] for image in self.tables["images"])
        for name in ("attempts", "images", "ledger", "events", "deliveries"):
            self.by_job[name] = _grouped(self.tables[name], "job_id")

    @property
    def jobs(self) -> list[Row]:
        """The rows of the jobs."""
        return self.tables["jobs"]

    def of(self, table: str, job: Row) -> list[Row]:
        """The rows of a table that belong to a job."""
        return self.by_job[table].get(job["id"], [])

    def serving(self, job: Row) -> frozenset[str]:
        """The deployments that can serve a job."""
        kind = self.kinds.get(job["prompt"])
        return KINDS[kind].serving if kind else SERVING[job["model_id"]]


def moment_of(stamp: object) -> float:
    """The seconds since the epoch of a time in ISO's form."""
    return datetime.fromisoformat(str(stamp)).timestamp()


def _grouped(rows: Sequence[Row], name: str) -> dict[Any, list[Row]]:
    """The rows by one of their values; a value that no row has gives no rows."""
    grouped = defaultdict[Any, list[Row]](list)
    for row in rows:
        grouped[row[name]].append(row)
    return grouped


def read_tables(database_url: str) -> dict[str, list[Row]]:
    """Read all tables in one snapshot."""
    with psycopg.connect(database_url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return {name: cursor.execute(query).fetchall() for name, query in _TABLES.items()}
