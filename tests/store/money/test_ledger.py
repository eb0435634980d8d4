"""The wallet is what the ledger says, whatever happens in whatever order."""

from __future__ import annotations

import threading
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from imagequeue.domain.ids import new_id
from imagequeue.store.money.accounts import NewAccount, create_accounts
from imagequeue.store.money.ledger import (
    Deposit,
    Hold,
    HoldEnd,
    HoldNotOpen,
    Wallet,
    deposit,
    end_holds,
    place_holds,
    read_wallets,
    recent_entries,
)

_SUMS = text("""
    SELECT account_id, sum(amount) AS available,
        coalesce(-sum(amount) FILTER (WHERE kind = 'HOLD' AND NOT EXISTS (
            SELECT FROM ledger_entries AS ended WHERE ended.hold_id = entry.id)), 0) AS held,
        coalesce(sum(captured), 0) AS spent
    FROM ledger_entries AS entry GROUP BY account_id
""")

AMOUNTS = st.decimals(min_value="0.000000001", max_value="100", places=9)


def open_wallets(connection: Connection, number: int) -> list[UUID]:
    new = [NewAccount(new_id(), f"account {n}", "") for n in range(number)]
    create_accounts(connection, new)
    return [account.id for account in new]


class Money(RuleBasedStateMachine):
    """Deposits, holds, captures and voids in lists of any mixture, against a plain model of three sums."""

    engine: Engine
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.connection = self.engine.connect()
        self.accounts = open_wallets(self.connection, 3)
        self.model = {account: [Decimal(0), Decimal(0), Decimal(0)] for account in self.accounts}

    @rule(moves=st.lists(st.tuples(st.integers(0, 2), AMOUNTS), min_size=1, max_size=4))
    def deposits(self, moves: list[tuple[int, Decimal]]) -> None:
        deposit(self.connection, [Deposit(self.accounts[n], amount) for n, amount in moves])
        for n, amount in moves:
            self.model[self.accounts[n]][0] += amount

    @rule(target=held, moves=st.lists(st.tuples(st.integers(0, 2), AMOUNTS), min_size=1, max_size=4))
    def holds(self, moves: list[tuple[int, Decimal]]) -> list[Hold]:
        holds = [Hold(new_id(), self.accounts[n], amount) for n, amount in moves]
        expected = [hold for hold in holds if self._take(hold)]
        assert place_holds(self.connection, holds) == {hold.job_id for hold in expected}
        return expected

    def _take(self, hold: Hold) -> bool:
        sums = self.model[hold.account_id]
        if sums[0] < hold.amount:
            return False
        sums[0] -= hold.amount
        sums[1] += hold.amount
        return True

    @rule(holds=consumes(held), captures=st.lists(st.booleans(), min_size=4, max_size=4))
    def ends(self, holds: list[Hold], captures: list[bool]) -> None:
        pairs = list(zip(holds, captures, strict=False))
        ends = [HoldEnd(hold.job_id, hold.amount if captured else None) for hold, captured in pairs]
        end_holds(self.connection, ends)
        for hold, captured in pairs:
            sums = self.model[hold.account_id]
            sums[1] -= hold.amount
            sums[2 if captured else 0] += hold.amount

    @invariant()
    def wallets_equal_the_model_and_the_ledger(self) -> None:
        wallets = read_wallets(self.connection, self.accounts)
        assert wallets == {account: Wallet(*sums) for account, sums in self.model.items()}
        for row in self.connection.execute(_SUMS):
            assert wallets[row.account_id] == Wallet(row.available, row.held, row.spent)

    def teardown(self) -> None:
        self.connection.rollback()
        self.connection.close()


def test_wallets_equal_the_ledger_after_any_moves(engine: Engine) -> None:
    machine = type("MoneyHere", (Money,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


def test_a_hold_ends_only_once(engine: Engine) -> None:
    with engine.begin() as connection:
        account = open_wallets(connection, 1)[0]
        deposit(connection, [Deposit(account, Decimal(1))])
        hold = Hold(new_id(), account, Decimal("0.039"))
        place_holds(connection, [hold])
        end_holds(connection, [HoldEnd(hold.job_id, hold.amount)])
    for captured in (hold.amount, None):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            end_holds(connection, [HoldEnd(hold.job_id, captured)])
    with engine.connect() as connection:
        assert read_wallets(connection, [account])[account] == Wallet(
            Decimal("0.961"), Decimal(0), Decimal("0.039")
        )
        assert [entry.kind for entry in recent_entries(connection, account, 10)] == [
            "CAPTURE",
            "HOLD",
            "DEPOSIT",
        ]


def test_a_capture_takes_what_is_held_and_nothing_else(engine: Engine) -> None:
    with engine.begin() as connection:
        account = open_wallets(connection, 1)[0]
        deposit(connection, [Deposit(account, Decimal(1))])
        hold = Hold(new_id(), account, Decimal("0.5"))
        place_holds(connection, [hold])
        with pytest.raises(HoldNotOpen):
            end_holds(connection, [HoldEnd(hold.job_id, Decimal("0.4"))])
        with pytest.raises(HoldNotOpen):
            end_holds(connection, [HoldEnd(new_id(), Decimal("0.5"))])
        end_holds(connection, [HoldEnd(new_id(), None)])
        assert read_wallets(connection, [account])[account].held == Decimal("0.5")


def test_holds_of_many_connections_never_overdraw_or_deadlock(engine: Engine) -> None:
    with engine.begin() as connection:
        accounts = open_wallets(connection, 4)
        deposit(connection, [Deposit(account, Decimal(5)) for account in accounts])
    placed: list[int] = []

    def race(turn: int) -> None:
        order = accounts[turn % 4 :] + accounts[: turn % 4]
        with engine.begin() as connection:
            placed.append(len(place_holds(connection, [Hold(new_id(), one, Decimal(1)) for one in order])))

    threads = [threading.Thread(target=race, args=(turn,)) for turn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(placed) == [0, 0, 0, 4, 4, 4, 4, 4]
