"""Submit: one transaction for a list, in which every item stands for itself."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.domain.errors import (
    ImagequeueError,
    InsufficientBalance,
    InvalidRequest,
    ServiceUnavailable,
    UnknownModel,
)
from imagequeue.domain.images import Shape
from imagequeue.domain.jobs import Lane
from imagequeue.lifecycle.submit.submission import Accepted
from imagequeue.lifecycle.submit.submit import accept, submit
from imagequeue.providers.registry import PROVIDERS
from imagequeue.store.money.ledger import Wallet
from tests.builders import MODEL, PRICE, count
from tests.lifecycle.generate.refusing import breaking_commit
from tests.lifecycle.submit.client import Client, accepted, jobs_of
from tests.locks import WALLET, holding, wait_until_blocked


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


def test_what_is_accepted_in_a_transaction_of_somebody_else_is_committed_or_not_with_it(
    client: Client,
) -> None:
    with client.engine.begin() as connection:
        accepted(accept(connection, client.runtime, client.runtime.catalog, [client.ask()]))
        connection.rollback()
    assert set(client.rows().values()) == {0}
    assert client.wallet() == Wallet(Decimal(10), Decimal(0), Decimal(0))
    with client.engine.begin() as connection:
        outcomes = accept(
            connection, client.runtime, client.runtime.catalog, [client.ask(), client.ask(model="of-nobody")]
        )
    assert [type(outcome).__name__ for outcome in outcomes] == ["Accepted", "UnknownModel"]
    assert count(client.engine, "jobs") == 1
    assert client.wallet().held == PRICE


def test_an_error_of_the_database_does_not_repeat_the_prompt(client: Client) -> None:
    with pytest.raises(Exception, match=r"(?i)nul") as caught:
        client.submit(client.ask("my secret plan \0"))
    assert "secret plan" not in str(caught.value)


@pytest.mark.parametrize("gone", [{0}, {1}, {0, 2}, {0, 1, 2}])
def test_a_submit_whose_caller_gave_up_before_the_commit_leaves_no_row(
    client: Client, gone: set[int]
) -> None:
    asks = [client.ask(str(number), idempotency_key=str(number)) for number in range(3)]
    outcomes = submit(client.runtime, asks, wake=lambda: None, waits=lambda position: position not in gone)
    refused = {number for number, outcome in enumerate(outcomes) if isinstance(outcome, ServiceUnavailable)}
    assert refused == gone
    assert len(outcomes) == 3
    assert client.rows()["jobs"] == client.rows()["idempotency_keys"] == 3 - len(gone)
    assert client.wallet().held == (3 - len(gone)) * PRICE


def test_the_repeat_of_a_submit_whose_caller_gave_up_gets_the_job(client: Client) -> None:
    asks = [client.ask(idempotency_key="k"), client.ask(idempotency_key="k")]
    outcomes = submit(client.runtime, asks, wake=lambda: None, waits=lambda position: position != 0)
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable, Accepted]
    assert client.rows()["jobs"] == 1


def test_a_reload_in_the_middle_of_a_group_makes_no_models_absence_everybodys_error(client: Client) -> None:
    """The group reads the catalog, waits for the wallet, and needs the prices after the reload."""
    outcomes: list[Accepted | ImagequeueError] = []
    asks = [client.ask("a"), client.ask("b", model="microsoft-mai-image-2")]
    submitting = threading.Thread(
        target=lambda: outcomes.extend(submit(client.runtime, asks, wake=lambda: None, lock_seconds=30))
    )
    with holding(client.engine, WALLET, account_id=client.account_id):
        submitting.start()
        wait_until_blocked(client.engine)
        client.runtime.catalog = parse_catalog(
            {"models": [{"id": "another", "price_usd": "1"}]}, {}, PROVIDERS
        )
    submitting.join()
    assert len(jobs_of(outcomes)) == 2
    assert client.wallet().held == PRICE + Decimal("0.02")


def test_a_commit_whose_answer_was_lost_is_answered_as_accepted(client: Client) -> None:
    with breaking_commit(client.engine, "INSERT INTO jobs", after=True) as broken:
        outcomes = client.submit(client.ask())
    assert broken
    assert len(jobs_of(outcomes)) == client.rows()["jobs"] == 1
    assert client.wakes == 1


def test_a_commit_that_did_not_take_place_is_no_acceptance(client: Client) -> None:
    with (
        breaking_commit(client.engine, "INSERT INTO jobs", after=False) as broken,
        pytest.raises(OperationalError),
    ):
        client.submit(client.ask())
    assert broken
    assert client.rows()["jobs"] == client.wakes == 0
