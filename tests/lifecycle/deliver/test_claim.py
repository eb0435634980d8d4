"""Which deliveries a process claims, on a real database."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from sqlalchemy import Engine, event, text

from imagequeue.domain.webhooks import DEFAULT_SCHEDULE
from imagequeue.lifecycle.deliver.claim import TARGETS_AT_ONCE
from imagequeue.lifecycle.deliver.deliver import end_overdue
from imagequeue.store import webhook_targets
from tests.lifecycle.deliver.outbox import Outbox

PAST = "clock_timestamp() - interval '1 s'"
FUTURE = "clock_timestamp() + interval '1 hour'"


@pytest.fixture
def outbox(engine: Engine) -> Outbox:
    return Outbox(engine, slots=64)


def test_a_target_of_which_nothing_is_known_gets_four_at_a_time(outbox: Outbox) -> None:
    outbox.add(outbox.account(), "https://a:443", 50)
    assert outbox.turn() == {"https://a:443": 4}
    assert outbox.turn() == {}
    outbox.execute(
        "UPDATE deliveries SET state = 'DELIVERED', finished_at = now() WHERE leased_until > now()"
    )
    assert outbox.turn() == {"https://a:443": 4}


def test_one_receiver_of_two_accounts_is_two_targets(outbox: Outbox) -> None:
    first, second = outbox.account(), outbox.account()
    outbox.known(first, "https://a:443", failures=5, open_until=FUTURE)
    for account in (first, second):
        outbox.add(account, "https://a:443", 50)
    outbox.turn()
    (row,) = outbox.rows("SELECT account_id, count(*) FROM deliveries WHERE leased_until > now() GROUP BY 1")
    assert tuple(row) == (second, 4)


@pytest.mark.parametrize("column", ["open_until", "paused_until"])
def test_nothing_goes_to_a_target_that_is_open_or_paused_until_it_is_over(
    outbox: Outbox, column: str
) -> None:
    account = outbox.account()
    outbox.known(account, "https://a:443", **{column: FUTURE})
    outbox.add(account, "https://a:443", 50)
    outbox.add(account, "https://b:443")
    assert outbox.turn() == {"https://b:443": 1}
    (parked,) = outbox.rows("SELECT sum(attempt_count), count(*) FROM deliveries WHERE leased_until IS NULL")
    assert tuple(parked) == (0, 50)
    outbox.execute(f"UPDATE webhook_targets SET {column} = {PAST}")  # noqa: S608  # ours
    assert outbox.turn() == {"https://a:443": 4}


def test_a_half_open_target_gets_a_single_probe(outbox: Outbox) -> None:
    account = outbox.account()
    outbox.known(account, "https://a:443", failures=7, open_until=PAST, attempt_limit=4)
    outbox.add(account, "https://a:443", 50)
    assert outbox.turn() == {"https://a:443": 1}
    assert outbox.turn() == {}


def test_a_lease_that_ended_gives_its_place_back(outbox: Outbox) -> None:
    outbox.add(outbox.account(), "https://a:443", 50)
    outbox.turn()
    outbox.execute(
        "UPDATE deliveries SET leased_until = now(), next_attempt_at = now() WHERE leased_until > now()"
    )
    assert outbox.turn() == {"https://a:443": 4}


def test_a_process_claims_no_more_than_it_has_places(outbox: Outbox) -> None:
    outbox.restart(slots=10)
    for number in range(20):
        outbox.add(outbox.account(), f"https://{number}:443", 4)
    assert sum(outbox.turn().values()) == 10
    assert outbox.turn() == {}


def test_a_process_that_is_not_known_to_live_claims_nothing(outbox: Outbox) -> None:
    outbox.add(outbox.account(), "https://a:443", 50)
    outbox.execute("UPDATE processes SET beat_at = clock_timestamp() - interval '1 min'")
    assert outbox.deliveries.run_once() == 0
    assert outbox.turn() == {"https://a:443": 4}


def test_targets_take_turns(outbox: Outbox) -> None:
    for name in ("a", "b", "c"):
        outbox.add(outbox.account(), f"https://{name}:443", 50)
    got = Counter[str]()
    for _ in range(6):
        outbox.restart(slots=2)
        got += outbox.turn()
        outbox.execute(
            "UPDATE deliveries SET state = 'DELIVERED', finished_at = now() WHERE leased_until > now()"
        )
    assert got == {"https://a:443": 4, "https://b:443": 4, "https://c:443": 4}


def test_first_attempts_are_not_behind_the_retries_of_an_outage(outbox: Outbox) -> None:
    account = outbox.account()
    outbox.add(account, "https://a:443", 500, tries=3)
    outbox.known(account, "https://a:443", attempt_limit=16, latency_seconds=0.1)
    outbox.turn()
    outbox.execute("UPDATE deliveries SET leased_until = NULL")
    outbox.add(account, "https://a:443", 50)
    outbox.turn()
    (row,) = outbox.rows(
        "SELECT count(*) FILTER (WHERE attempt_count = 0), count(*)"
        " FROM deliveries WHERE leased_until > now()"
    )
    assert tuple(row) == (9, 16), "a tenth of 64 slots, 7, is kept for retries"


def test_processes_that_claim_at_once_do_not_pass_a_target_s_limit(outbox: Outbox) -> None:
    accounts = [outbox.account() for _ in range(4)]
    for account in accounts:
        outbox.add(account, "https://a:443", 50)
    processes = [outbox.process() for _ in range(4)]

    def work(number: int) -> None:
        for _ in range(5):
            processes[number].run_once()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = outbox.rows("SELECT count(*) FROM deliveries WHERE leased_until > now() GROUP BY account_id")
    assert [row.count for row in counts] == [4] * 4
    assert len(outbox.pool.begun) == len({one.delivery_id for one in outbox.pool.begun}) == 16


def test_an_account_with_very_many_targets_is_looked_through_bit_by_bit(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_targets, "MOST_OF_AN_ACCOUNT", 5)
    many, other = outbox.account(), outbox.account()
    for number in range(12):
        outbox.add(many, f"https://{number:02}:443")
    outbox.add(other, "https://other:443")
    turns = [outbox.turn() for _ in range(3)]
    assert [sum(turn.values()) for turn in turns] == [6, 5, 2]
    assert turns[0]["https://other:443"] == 1


def test_an_account_with_very_many_targets_keeps_no_other_out_of_a_turn(outbox: Outbox) -> None:
    many, other = outbox.account(), outbox.account()
    for number in range(TARGETS_AT_ONCE + 20):
        outbox.add(many, f"https://{number:03}:443", 4)
    outbox.known(other, "https://other:443", latency_seconds=0.1)
    for _ in range(3):  # at first nothing is known of the many, later they were served longer ago
        outbox.add(other, "https://other:443")
        assert outbox.turn()["https://other:443"] == 1


def test_a_claim_costs_as_many_statements_for_a_thousand_deliveries_as_for_one(outbox: Outbox) -> None:
    statements = list[str]()
    event.listen(outbox.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts = list[int]()
    for count in (1, 1000):
        outbox.add(outbox.account(), f"https://{count}:443", count)
        statements.clear()
        outbox.deliveries.run_once()
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 10


def test_what_is_older_than_the_age_limit_is_dead_unless_it_is_in_flight(outbox: Outbox) -> None:
    account = outbox.account()
    outbox.known(account, "https://open:443", failures=5, open_until=FUTURE)
    outbox.add(account, "https://open:443", 3)
    outbox.add(account, "https://a:443")
    outbox.turn()
    outbox.execute("UPDATE deliveries SET aged_from = clock_timestamp() - interval '116 hours'")
    outbox.add(account, "https://young:443")
    assert end_overdue(outbox.engine, DEFAULT_SCHEDULE) == 3
    states = outbox.rows("SELECT target, state, attempt_count FROM deliveries ORDER BY target, id")
    assert {tuple(row) for row in states} == {
        ("https://open:443", "DEAD", 0),
        ("https://a:443", "PENDING", 0),
        ("https://young:443", "PENDING", 0),
    }


def test_a_target_that_nobody_names_any_more_is_forgotten(outbox: Outbox) -> None:
    account = outbox.account()
    for name in ("https://old:443", "https://waiting:443"):
        outbox.known(account, name, served_at="clock_timestamp() - interval '31 days'")
    outbox.known(account, "https://new:443", served_at=PAST)
    outbox.add(account, "https://waiting:443")
    with outbox.engine.begin() as connection:
        assert webhook_targets.forget(connection, 30, 1000) == 1
    left = outbox.rows("SELECT target FROM webhook_targets ORDER BY target")
    assert [row.target for row in left] == ["https://new:443", "https://waiting:443"]


def test_a_parked_target_costs_a_probe_however_much_waits_there(outbox: Outbox) -> None:
    account = outbox.account()
    outbox.known(account, "https://open:443", failures=5, open_until=FUTURE)
    outbox.add(account, "https://open:443", 3000)
    outbox.add(account, "https://busy:443", 3000)
    with outbox.engine.begin() as connection:
        connection.execute(text("ANALYZE deliveries, webhook_targets"))  # autovacuum may come between, or not
    with outbox.engine.begin() as connection:
        assert webhook_targets.scan(connection, {}).due == [(account, "https://busy:443")]
        read = (
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'deliveries'"
        )
        assert connection.execute(text(read)).scalar_one() < 100
