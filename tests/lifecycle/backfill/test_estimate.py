"""A dry run tells what a file costs and how long it takes, and inserts nothing."""

from __future__ import annotations

from decimal import Decimal

from imagequeue.domain.batches import BatchState
from imagequeue.lifecycle.backfill.estimate import BatchEstimate, read_estimate
from tests.lifecycle.backfill.batches import Batches, line, written


def estimated(batches: Batches, content: bytes) -> BatchEstimate:
    batch_id = batches.validated(content, dry_run=True)
    assert list(batches.lines(batch_id)) == []
    assert batches.counts(batch_id) == {}
    runtime = batches.runtime
    with runtime.engine.connect() as connection:
        found = read_estimate(connection, runtime.catalog, batches.account_id, batch_id)
    assert found is not None
    return found


def test_lines_images_price_and_the_time_by_quota_are_told(batches: Batches) -> None:
    lines = [
        *(line(f"one {number}") for number in range(3000)),
        *(line(f"three {number}", n=3) for number in range(1000)),
        *(line(f"other {number}", model="microsoft-mai-image-2") for number in range(500)),
    ]
    found = estimated(batches, written(*lines))
    assert (found.state, found.lines, found.images) == (BatchState.COMPLETED, 4500, 6500)
    assert found.price_usd == 6000 * Decimal("0.039") + 500 * Decimal("0.02")
    calls = 3000 + 3 * 1000  # Foundry makes one image a call, 1,000 calls a minute
    assert found.limited_by == ["foundry-test"]
    assert found.seconds is not None
    assert calls * 60 / 1000 <= found.seconds <= calls * 61 / 1000


def test_errors_are_told_as_those_of_a_batch(batches: Batches) -> None:
    found = estimated(batches, written(line("a"), line("a"), line("b", n=99)))
    assert (found.state, found.seconds) == (BatchState.FAILED, None)
    assert [(one["line"], one["code"], one["param"]) for one in found.errors] == [
        (2, "duplicate_custom_id", "custom_id"),
        (3, "invalid_request", "body.n"),
    ]


def test_a_batch_that_runs_is_no_dry_run(batches: Batches) -> None:
    batch_id = batches.create(written(line("a")))
    with batches.runtime.engine.connect() as connection:
        assert read_estimate(connection, batches.runtime.catalog, batches.account_id, batch_id) is None
