"""Idempotency keys and counted retries: who gets the job that is there, and who a new one."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.errors import IdempotencyMismatch, ImagequeueError, InsufficientBalance
from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.submit.submission import Accepted
from imagequeue.store.jobs.idempotency import forget_expired
from imagequeue.store.money.ledger import Deposit, deposit
from tests.builders import PRICE
from tests.lifecycle.submit.client import Client, accepted, jobs_of


def test_fifty_racers_with_one_key_make_one_job(client: Client) -> None:
    barrier = threading.Barrier(10)
    outcomes: list[Accepted | ImagequeueError] = []

    def race() -> None:
        barrier.wait(timeout=120)
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


def _age(engine: Engine, table: str, by: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET created_at = created_at - interval '{by}'"))  # noqa: S608
