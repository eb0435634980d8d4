"""Submit: one transaction for a list, in which every item stands for itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.errors import (
    IdempotencyMismatch,
    ImagequeueError,
    InsufficientBalance,
    InvalidRequest,
    UnknownModel,
)
from imagequeue.domain.ids import new_id
from imagequeue.domain.images import ImageRequest, Shape
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.submit.submission import Accepted, Submission, fingerprint
from imagequeue.lifecycle.submit.submit import submit
from imagequeue.runtime import Runtime
from imagequeue.store.jobs.idempotency import forget_expired
from imagequeue.store.money.ledger import Deposit, Wallet, deposit, read_wallets
from tests.builders import MODEL, PRICE, account, count, runtime

TABLES = ("jobs", "job_requests", "events", "idempotency_keys", "recent_submits")


class Client:
    """An account that submits."""

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


@pytest.fixture
def client(engine: Engine, database_url: str) -> Client:
    return Client(engine, database_url)


def accepted(outcomes: Sequence[Accepted | ImagequeueError]) -> list[Accepted]:
    assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Accepted)]


def jobs_of(outcomes: Sequence[Accepted | ImagequeueError]) -> set[UUID]:
    return {outcome.job_id for outcome in accepted(outcomes)}


def test_a_list_becomes_jobs_with_their_holds_requests_and_events(client: Client) -> None:
    outcomes = client.submit(client.ask("one"), client.ask("two", image_count=3))
    assert all(outcome.request_id == f"{MODEL}_{outcome.job_id}" for outcome in accepted(outcomes))
    assert client.wallet() == Wallet(10 - 4 * PRICE, 4 * PRICE, Decimal(0))
    assert client.rows() == {
        "jobs": 2,
        "job_requests": 2,
        "events": 2,
        "idempotency_keys": 0,
        "recent_submits": 2,
    }
    assert client.wakes == 1
    with client.engine.connect() as connection:
        rows = connection.execute(
            text("""
                SELECT status, image_count, wanted, price_usd, prompt
                FROM jobs JOIN job_requests ON job_id = id
            """)
        ).all()
    assert sorted(rows) == [("QUEUED", 1, 1, PRICE, "one"), ("QUEUED", 3, 3, 3 * PRICE, "two")]


def test_each_refusal_fails_only_its_own_item_and_leaves_no_row(client: Client) -> None:
    late = datetime.now(UTC) - timedelta(seconds=1)
    outcomes = client.submit(
        client.ask("good"),
        client.ask("no model", model="nope"),
        client.ask("a wide one", shape=Shape(ratio=(21, 9))),
        client.ask("late", finish_by=late, idempotency_key="late"),
        client.ask("edit", model="disabled-model"),
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Accepted, UnknownModel, InvalidRequest, InvalidRequest, UnknownModel]
    assert "X-Finish-By" in str(outcomes[3])
    assert client.rows() == {
        "jobs": 1,
        "job_requests": 1,
        "events": 1,
        "idempotency_keys": 0,
        "recent_submits": 1,
    }
    assert client.wallet().held == PRICE


def test_an_empty_wallet_refuses_and_a_smaller_job_behind_still_fits(
    engine: Engine, database_url: str
) -> None:
    client = Client(engine, database_url, funds="0.05")
    outcomes = client.submit(client.ask("a", image_count=4), client.ask("b"), client.ask("c"))
    assert [type(outcome) for outcome in outcomes] == [InsufficientBalance, Accepted, InsufficientBalance]
    assert client.rows()["jobs"] == 1
    assert client.wallet() == Wallet(Decimal("0.011"), PRICE, Decimal(0))


def test_nothing_wakes_when_nothing_was_accepted(engine: Engine, database_url: str) -> None:
    client = Client(engine, database_url, funds="0")
    client.submit(client.ask())
    assert client.wakes == 0


def test_fifty_racers_with_one_key_make_one_job(client: Client) -> None:
    barrier = threading.Barrier(10)
    outcomes: list[Accepted | ImagequeueError] = []

    def race() -> None:
        barrier.wait(timeout=10)
        outcomes.extend(client.submit(*[client.ask(idempotency_key="once") for _ in range(5)]))

    threads = [threading.Thread(target=race) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 50
    assert len(jobs_of(outcomes)) == 1
    assert [outcome.replayed for outcome in accepted(outcomes)].count(False) == 1
    assert client.rows()["jobs"] == 1
    assert client.wallet().held == PRICE


@pytest.mark.parametrize("together", [True, False])
def test_another_body_under_the_same_key_is_refused(client: Client, together: bool) -> None:  # noqa: FBT001
    asks = [client.ask("one", idempotency_key="k"), client.ask("two", idempotency_key="k")]
    outcomes = client.submit(*asks) if together else [client.submit(ask)[0] for ask in asks]
    assert [type(outcome) for outcome in outcomes] == [Accepted, IdempotencyMismatch]
    assert client.rows()["jobs"] == 1


def test_keys_belong_to_accounts(client: Client, engine: Engine, database_url: str) -> None:
    other = Client(engine, database_url, name="other")
    first = client.submit(client.ask(idempotency_key="k"))
    second = other.submit(other.ask("something else", idempotency_key="k"))
    assert len(jobs_of([*first, *second])) == 2


def test_only_accepted_jobs_are_remembered(engine: Engine, database_url: str) -> None:
    client = Client(engine, database_url, funds="0")
    asks = [
        client.ask(idempotency_key="k"),
        client.ask("else", idempotency_key="k"),
        client.ask(idempotency_key="k"),
    ]
    assert [type(outcome) for outcome in client.submit(*asks)] == [InsufficientBalance] * 3
    assert client.rows()["idempotency_keys"] == 0
    with engine.begin() as connection:
        deposit(connection, [Deposit(client.account_id, Decimal(1))])
    outcome = client.submit(client.ask("a third body", idempotency_key="k"))
    assert not accepted(outcome)[0].replayed


def test_a_refused_leader_leaves_the_key_to_a_follower_with_another_body(
    engine: Engine, database_url: str
) -> None:
    client = Client(engine, database_url, funds="0.039")
    big, small = client.ask("x", image_count=2, idempotency_key="k"), client.ask("x", idempotency_key="k")
    assert [type(outcome) for outcome in client.submit(big, small)] == [InsufficientBalance, Accepted]


def test_a_key_is_free_again_after_a_day(client: Client) -> None:
    first = client.submit(client.ask("one", idempotency_key="k"))
    _age(client.engine, "idempotency_keys", "25 hours")
    second = client.submit(client.ask("two", idempotency_key="k"))
    assert len(jobs_of([*first, *second])) == 2
    _age(client.engine, "idempotency_keys", "25 hours")
    with client.engine.begin() as connection:
        assert forget_expired(connection, 100) == 1
    assert client.rows()["idempotency_keys"] == 0


@pytest.mark.parametrize("first", [0, None])
def test_a_counted_retry_joins_the_job_of_the_first_try(client: Client, first: int | None) -> None:
    outcomes = [client.submit(client.ask(retry_count=n))[0] for n in (first, 1, 2)]
    assert len(jobs_of(outcomes)) == 1
    assert [outcome.replayed for outcome in accepted(outcomes)] == [False, True, True]


@pytest.mark.parametrize("count", [0, None])
@pytest.mark.parametrize("together", [True, False])
def test_equal_first_tries_are_two_wishes(
    client: Client,
    together: bool,  # noqa: FBT001
    count: int | None,
) -> None:
    asks = [client.ask(retry_count=count), client.ask(retry_count=count)]
    outcomes = client.submit(*asks) if together else [client.submit(ask)[0] for ask in asks]
    assert len(jobs_of(outcomes)) == 2


@pytest.mark.parametrize("first", [0, None])
def test_a_try_and_its_retry_in_one_group_are_one_job(client: Client, first: int | None) -> None:
    outcomes = client.submit(
        client.ask(retry_count=first), client.ask(retry_count=1), client.ask("else", retry_count=1)
    )
    assert len(jobs_of(outcomes)) == 2
    assert client.rows()["jobs"] == 2


def test_a_retry_whose_first_try_was_never_accepted_is_a_new_job(client: Client) -> None:
    outcomes = [client.submit(client.ask(retry_count=1))[0] for _ in range(2)]
    assert len(jobs_of(outcomes)) == 2


def test_a_retry_does_not_join_after_ten_minutes_nor_another_key_nor_a_failed_job(client: Client) -> None:
    first = client.submit(client.ask(retry_count=0))
    _age(client.engine, "recent_submits", "11 minutes")
    second = client.submit(client.ask(retry_count=1))
    with client.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET status = 'ERROR', finished_at = clock_timestamp()"))
    third = client.submit(client.ask(retry_count=2))
    assert len(jobs_of([*first, *second, *third])) == 3


def test_the_retry_of_an_equal_wish_joins_the_later_one(client: Client) -> None:
    _, second, retry = (client.submit(client.ask(retry_count=n))[0] for n in (None, None, 1))
    assert jobs_of([retry]) == jobs_of([second])


def test_the_lines_of_a_batch_are_not_noted(client: Client) -> None:
    client.submit(client.ask(batch_id=new_id()))
    assert client.rows()["recent_submits"] == 0


def test_a_refused_submit_is_not_noted(engine: Engine, database_url: str) -> None:
    poor = Client(engine, database_url, funds="0")
    assert [type(outcome) for outcome in poor.submit(poor.ask())] == [InsufficientBalance]
    assert poor.rows()["recent_submits"] == 0


def test_flows_are_shared_by_equal_requirements_and_split_by_lane(client: Client) -> None:
    client.submit(client.ask("a"), client.ask("b"), client.ask("c", lane=Lane.BACKFILL))
    client.submit(client.ask("d"))
    assert count(client.engine, "flows") == 2


def test_a_rolled_back_group_leaves_no_flow_id_behind(client: Client) -> None:
    broken = client.ask("nul \0 byte")
    with pytest.raises(Exception, match=r"(?i)nul"):
        client.submit(broken)
    assert count(client.engine, "flows") == 0
    assert client.wakes == 0
    assert jobs_of(client.submit(client.ask()))


def test_an_error_of_the_database_does_not_repeat_the_prompt(client: Client) -> None:
    with pytest.raises(Exception, match=r"(?i)nul") as caught:
        client.submit(client.ask("my secret plan \0"))
    assert "secret plan" not in str(caught.value)


def _age(engine: Engine, table: str, by: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET created_at = created_at - interval '{by}'"))  # noqa: S608
