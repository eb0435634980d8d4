"""Submits while rows or tables are locked: who waits, and what a 503 means."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from tests.api.service import Client, Service, serving
from tests.locks import WALLET, holding

KEY = "the key of a submit"
TABLES = ("wallets", "jobs", "idempotency_keys")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """For clients that submit at the same time."""
    with ThreadPoolExecutor(32) as executor:
        yield executor


def test_a_locked_wallet_delays_the_submits_of_its_own_account_alone(
    service: Service, engine: Engine, threads: ThreadPoolExecutor
) -> None:
    locked, *others = [service.client(f"client {number}") for number in range(4)]
    with holding(engine, WALLET, account_id=locked.account_id):
        waiting = [threads.submit(locked.generate) for _ in range(8)]
        for _ in range(3):
            answers = list(threads.map(Client.generate, others))
            assert [answer.status_code for answer in answers] == [202] * 3
        assert not any(one.done() for one in waiting)
    assert [one.result().status_code for one in waiting] == [202] * 8
    assert service.rows()["jobs"] == 17


def test_a_locked_wallet_delays_the_cancels_of_its_own_account_alone(
    service: Service, engine: Engine, threads: ThreadPoolExecutor
) -> None:
    locked, *others = [service.client(f"client {number}") for number in range(3)]
    ids = {client: client.generate().json()["request_id"] for client in (locked, *others)}

    def cancel(client: Client) -> int:
        return client.http.post(f"/v2/requests/{ids[client]}/cancel").status_code

    with holding(engine, WALLET, account_id=locked.account_id):
        waiting = threads.submit(cancel, locked)
        assert list(threads.map(cancel, others)) == [202] * 2
        assert not waiting.done()
    assert waiting.result() == 202


def test_an_account_whose_key_is_being_used_elsewhere_delays_nobody_else(
    service: Service, engine: Engine, threads: ThreadPoolExecutor
) -> None:
    first, second = service.client("first"), service.client("second")
    assert first.generate(headers={"Idempotency-Key": KEY}).status_code == 202
    with holding(engine, "SELECT FROM idempotency_keys FOR UPDATE"):
        repeat = threads.submit(first.generate, headers={"Idempotency-Key": KEY})
        assert second.generate(headers={"Idempotency-Key": KEY}).status_code == 202
        assert not repeat.done()
    assert repeat.result().headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("table", TABLES)
def test_a_503_on_a_submit_means_that_nothing_was_accepted(
    engine: Engine, database_url: str, threads: ThreadPoolExecutor, table: str, tmp_path: Path
) -> None:
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media") as service:
        clients = [service.client(f"client {number}") for number in range(3)]
        for client in clients:
            client.wallet()  # its key is known now
        with holding(engine, f"LOCK TABLE {table} IN EXCLUSIVE MODE"):
            asked = [
                threads.submit(client.generate, headers={"Idempotency-Key": f"{number}"})
                for client in clients
                for number in range(3)
            ]
            answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {503}
    assert set(service.rows().values()) <= {0, len(clients)}  # deposits
    assert service.rows()["jobs"] == service.rows()["idempotency_keys"] == 0


def test_of_submits_that_give_up_while_a_lock_ends_the_accepted_are_those_that_exist(
    engine: Engine, database_url: str, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """The lock ends when the first submit is answered 503, in the midst of the others' patience."""
    with serving(engine, database_url, storage_url=f"file://{tmp_path}/media") as service:
        client = service.client()
        client.wallet()
        with contextlib.ExitStack() as locks:
            locks.enter_context(holding(engine, WALLET, account_id=client.account_id))
            asked = list(_staggered(client, threads))
            wait(asked, return_when=FIRST_COMPLETED)
            locks.close()
            answers = [one.result() for one in asked]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {202, 503}
    assert service.rows()["jobs"] == statuses.count(202)
    names = {answer.json()["request_id"] for answer in answers if answer.status_code == 202}
    assert len(names) == statuses.count(202)


def _staggered(client: Client, threads: ThreadPoolExecutor) -> Iterator[Future[httpx.Response]]:
    """Submits that begin a twentieth of a second apart, so that each gives up at another moment."""
    pause = threading.Event()
    for _ in range(30):
        yield threads.submit(client.generate)
        pause.wait(0.05)
