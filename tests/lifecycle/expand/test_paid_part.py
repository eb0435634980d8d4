"""Of all images of a batch a part can be paid for: exactly those are delivered, and money brings the rest.

`IMAGEQUEUE_TEST_LINES=2000` makes it 1,234 of 2,000, which takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.lifecycle.supervise.control import BatchChange
from imagequeue.store.money.ledger import Deposit, deposit
from tests import fleet
from tests.backfill import Backfill, body
from tests.builders import PRICE
from tests.lifecycle.steps import wallet

pytestmark = pytest.mark.long

LINES = int(os.environ.get("IMAGEQUEUE_TEST_LINES", "100"))
PAID = LINES * 617 // 1_000
FUNDS = PAID * PRICE + PRICE / 2
"""What suffices for so many and half of one more, in USD."""


@pytest.fixture
def backfill(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Backfill]:
    """A deployment whose quota limits nothing here."""
    with fleet.pipeline(
        engine, database_url, tmp_path, {"east": {"rpm": 100_000, "pace": False}}
    ) as pipeline:
        yield Backfill(pipeline)


def create(backfill: Backfill, **terms: Any) -> UUID:
    return backfill.create([body(number) for number in range(LINES)], **terms)


def assert_paused(backfill: Backfill, batch_id: UUID, reason: str) -> None:
    assert backfill.state(batch_id) == ("paused", {reason})
    assert backfill.counts(batch_id) == {
        "total": LINES, "completed": PAID, "waiting": LINES - PAID, "finished": PAID, "images": PAID,
        "spent_usd": PAID * PRICE,
    }  # fmt: skip
    assert delivered(backfill) == list(range(1, PAID + 1))


def assert_completed(backfill: Backfill, batch_id: UUID) -> None:
    assert backfill.state(batch_id) == ("completed", set())
    assert backfill.counts(batch_id) == {
        "total": LINES, "completed": LINES, "finished": LINES, "images": LINES, "spent_usd": LINES * PRICE
    }  # fmt: skip
    assert delivered(backfill) == list(range(1, LINES + 1))


def delivered(backfill: Backfill) -> list[int]:
    """The lines of which an image is kept, one for each image."""
    query = "SELECT number FROM images JOIN batch_lines USING (job_id) ORDER BY number"
    return [row.number for row in backfill.pipeline.rows(query)]


def test_a_budget_for_a_part_of_the_images_delivers_exactly_those_and_a_higher_one_the_rest(
    backfill: Backfill,
) -> None:
    account_id = backfill.pipeline.account_id
    batch_id = create(backfill, budget_usd=FUNDS)
    backfill.run()
    assert_paused(backfill, batch_id, "budget")
    backfill.control.change(account_id, batch_id, BatchChange(budget_usd=LINES * PRICE))
    backfill.run()
    assert_completed(backfill, batch_id)


def test_a_wallet_for_a_part_of_the_images_delivers_exactly_those_and_a_deposit_the_rest(
    backfill: Backfill,
) -> None:
    pipeline, kept = backfill.pipeline, Decimal("0.48")
    pipeline.execute("UPDATE wallets SET available = :usd", usd=FUNDS + kept)
    batch_id = create(backfill, keep_available_usd=kept)
    backfill.run()
    assert_paused(backfill, batch_id, "wallet")
    assert wallet(pipeline) == [(PRICE / 2 + kept, 0, PAID * PRICE)]
    with pipeline.runtime.engine.begin() as connection:
        deposit(connection, [Deposit(pipeline.account_id, LINES * PRICE)])
    backfill.run()
    assert_completed(backfill, batch_id)
