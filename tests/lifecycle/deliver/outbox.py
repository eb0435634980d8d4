"""Deliveries without jobs around them, and the processes that claim them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from imagequeue.domain.ids import new_id
from imagequeue.domain.webhooks import DEFAULT_SCHEDULE
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.policy import EgressPolicy
from imagequeue.lifecycle.deliver.attempt import Delivering
from imagequeue.lifecycle.deliver.deliver import Deliveries
from imagequeue.lifecycle.deliver.record import Recording
from imagequeue.signing import Keyring
from imagequeue.store import processes
from imagequeue.store.processes import ProcessRecord
from tests.builders import SECRET_KEY
from tests.lifecycle.deliver.by_hand import ByHand

_ACCOUNT = "INSERT INTO accounts (id, name, webhook_secrets) VALUES (:account, CAST(:account AS text), '')"
_JOB = (
    """INSERT INTO flows (model_id, requirement, account_id, lane)
        VALUES ('m', 'generate', :account, 'interactive')""",
    """INSERT INTO jobs (id, account_id, flow_id, status, image_count, wanted, price_usd)
        SELECT :account, :account, id, 'QUEUED', 1, 1, 0 FROM flows WHERE account_id = :account""",
    """INSERT INTO job_requests (job_id, prompt, parameters, dialect)
        VALUES (:account, 'p', '{}', 'pixazo')""",
)
_ADD = """
    INSERT INTO deliveries
        (id, account_id, job_id, webhook_id, url, target, body, attempt_count, next_attempt_at)
    SELECT gen_random_uuid(), :account, :account, 'm', gen_random_uuid()::text, :target, '', :tries,
        clock_timestamp() - interval '1 hour' + number * interval '1 ms'
    FROM generate_series(1, :count) AS number
"""


@dataclass
class Outbox:
    """A database of deliveries, and processes that claim them; what they claim is in `pool`."""

    engine: Engine
    slots: int
    pool: ByHand = field(default_factory=ByHand)

    def __post_init__(self) -> None:
        worker = ProcessRecord(new_id(), "worker", "test", 1, ("deliveries",), 0, self.slots)
        with self.engine.begin() as connection:
            processes.register(connection, worker)
        self.deliveries = self.process()

    def process(self) -> Deliveries:
        """One process, with as many places as the outbox has slots."""
        client = GuardedClient(EgressPolicy.parse(), user_agent="test")
        delivering = Delivering(client, Keyring(SECRET_KEY), {})
        recording = Recording(self.engine, DEFAULT_SCHEDULE)
        return Deliveries(self.engine, delivering, recording, self.pool, self.slots)

    def restart(self, slots: int) -> None:
        """Let another process take the place of the one before, whose leases go on."""
        self.slots = slots
        self.execute("UPDATE processes SET delivery_slots = :slots", slots=slots)
        self.deliveries = self.process()

    def account(self) -> UUID:
        account = new_id()
        self.execute(_ACCOUNT, account=account)
        self.job_of(account)
        return account

    def job_of(self, account: UUID) -> None:
        """The one job that all deliveries of an account are of."""
        for statement in _JOB:
            self.execute(statement, account=account)

    def add(self, account: UUID, target: str, count: int = 1, *, tries: int = 0) -> None:
        """Deliveries that have been due for an hour."""
        self.execute(_ADD, account=account, target=target, count=count, tries=tries)

    def known(self, account: UUID, target: str, **columns: Any) -> None:
        """What earlier attempts showed of a target; keywords are SQL."""
        names, values = ", ".join(columns), ", ".join(str(value) for value in columns.values())
        self.execute(
            f"INSERT INTO webhook_targets (account_id, target, {names}) VALUES (:account, :target, {values})",  # noqa: S608
            account=account,
            target=target,
        )

    def turn(self) -> Counter[str]:
        """One claim: how many deliveries of each target begin."""
        self.execute("UPDATE processes SET beat_at = clock_timestamp()")
        before = len(self.pool.begun)
        self.deliveries.run_once()
        ids = [one.delivery_id for one in self.pool.begun[before:]]
        return Counter(
            row.target for row in self.rows("SELECT target FROM deliveries WHERE id = ANY(:ids)", ids=ids)
        )

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), values))

    def execute(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)
