"""An account that submits lists of jobs, without HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Engine

from imagequeue.domain.errors import ImagequeueError
from imagequeue.domain.images import ImageRequest, Shape
from imagequeue.lifecycle.submit.submission import Accepted, Submission, fingerprint
from imagequeue.lifecycle.submit.submit import submit
from imagequeue.runtime import Runtime
from imagequeue.store.money.ledger import Wallet, read_wallets
from tests.builders import MODEL, account, count, runtime

TABLES = ("jobs", "job_requests", "events", "idempotency_keys", "recent_submits")


class Client:
    """An account that submits, and what is stored of that."""

    def __init__(self, engine: Engine, database_url: str, name: str = "client", funds: str = "10") -> None:
        self.runtime: Runtime = runtime(engine, database_url)
        self.engine = engine
        self.account_id, self.key = account(engine, name, funds)
        self.wakes = 0

    def ask(
        self, prompt: str = "a red fox", *, image_count: int = 1, model: str = MODEL, **more: object
    ) -> Submission:
        shape = more.pop("shape", Shape())
        body = {"prompt": prompt, "n": image_count}
        request = ImageRequest(model, prompt, image_count=image_count, shape=shape)  # pyright: ignore[reportArgumentType]
        return Submission(
            account_id=self.account_id,
            api_key_id=self.key.id,
            request=request,
            dialect="pixazo",
            fingerprint=fingerprint(self.account_id, "/route", body),
            **more,  # pyright: ignore[reportArgumentType]
        )

    def submit(self, *submissions: Submission) -> list[Accepted | ImagequeueError]:
        return submit(self.runtime, submissions, wake=self._wake)

    def wallet(self) -> Wallet:
        with self.engine.connect() as connection:
            return read_wallets(connection, [self.account_id])[self.account_id]

    def rows(self) -> dict[str, int]:
        return {table: count(self.engine, table) for table in TABLES}

    def _wake(self) -> None:
        self.wakes += 1


def accepted(outcomes: Sequence[Accepted | ImagequeueError]) -> list[Accepted]:
    """The outcomes, none of which may be a refusal."""
    assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Accepted)]


def jobs_of(outcomes: Sequence[Accepted | ImagequeueError]) -> set[UUID]:
    """The ids of the jobs that were accepted; a repeat has the id of the first one."""
    return {outcome.job_id for outcome in accepted(outcomes)}
