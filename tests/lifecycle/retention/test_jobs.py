"""After the retention time: what clients sent and got is gone, money and the final status stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise

import pytest

from imagequeue import wiring
from imagequeue.domain.jobs import JobStatus
from imagequeue.lifecycle.retention.event_totals import EventTotals
from imagequeue.lifecycle.retention.jobs import KEYS_AT_ONCE, RUN_SECONDS, STEP_SECONDS, Retention
from imagequeue.media.local import LocalStorage
from imagequeue.media.storage import StorageUnavailable
from imagequeue.store.money.ledger import read_wallets
from tests.backfill import Backfill, body
from tests.pipeline import Pipeline


def _retention(pipeline: Pipeline, days: int = 30) -> Retention:
    return replace(wiring.job_retention(pipeline.runtime), days=days)


def _age(pipeline: Pipeline, days: int) -> None:
    """Let days pass: tokens return, events are counted."""
    pipeline.execute("UPDATE jobs SET finished_at = finished_at - make_interval(days => :days)", days=days)
    pipeline.execute(
        "UPDATE attempts SET token_returns_at = token_returns_at - make_interval(days => :days)", days=days
    )
    EventTotals(pipeline.runtime.engine, settled_seconds=0).run_once()


def _ended(pipeline: Pipeline, count: int, days: int) -> None:
    """Jobs that ended so many days ago without a call."""
    pipeline.settlement.end(pipeline.submit(count), JobStatus.ERROR, "for the test")
    _age(pipeline, days)


def _forgotten(pipeline: Pipeline) -> int:
    return pipeline.rows("SELECT count(*) FROM jobs WHERE forgotten_at IS NOT NULL")[0][0]


def test_an_expired_job_keeps_its_money_and_its_status_and_nothing_else(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(prompt="a secret wish", image_count=2, webhook_url="https://example.com/hook")
    pipeline.run()
    keys = [row.storage_key for row in pipeline.rows("SELECT storage_key FROM images")]
    pipeline.execute("UPDATE deliveries SET state = 'DEAD', finished_at = now() - interval '31 days'")
    _age(pipeline, 31)
    assert _retention(pipeline).run_once() == 1
    assert not any(pipeline.runtime.storage.exists(key) for key in keys)
    for table in ("images", "attempts", "events", "deliveries"):
        assert pipeline.rows(f"SELECT count(*) FROM {table}")[0][0] == 0, table  # noqa: S608
    assert pipeline.rows("SELECT prompt, webhook_url FROM job_requests") == [("", None)]
    assert pipeline.status(job_id) == "COMPLETED"
    with pipeline.runtime.engine.connect() as connection:
        wallet = read_wallets(connection, [pipeline.account_id])[pipeline.account_id]
    assert wallet.spent == 2 * Decimal("0.039")
    assert _retention(pipeline).run_once() == 0


def test_a_job_within_the_retention_time_and_a_live_one_are_left_alone(pipeline: Pipeline) -> None:
    pipeline.submit()
    pipeline.run()
    pipeline.submit()
    _age(pipeline, 29)
    assert _retention(pipeline).run_once() == 0
    assert pipeline.rows("SELECT count(*) FROM images")[0][0] == 1


@pytest.mark.parametrize(
    "held",
    [
        "UPDATE attempts SET token_returns_at = clock_timestamp() + interval '1 hour'",
        "UPDATE attempts SET state = 'CALLING', process_id = gen_random_uuid(), finished_at = NULL",
        "UPDATE event_totals SET counted_until = 0",
    ],
)
def test_a_job_is_kept_while_a_token_is_out_or_a_call_in_flight_or_an_event_uncounted(
    pipeline: Pipeline, held: str
) -> None:
    pipeline.submit()
    pipeline.run()
    _age(pipeline, 31)
    pipeline.execute(held)
    assert _retention(pipeline).run_once() == 0
    assert len(pipeline.calls()) == pipeline.rows("SELECT count(*) FROM attempts")[0][0] == 1
    pipeline.execute("UPDATE attempts SET state = 'SUCCEEDED', finished_at = clock_timestamp()")
    _age(pipeline, 1)
    assert _retention(pipeline).run_once() == 1


def test_every_submit_that_no_repeat_can_meet_is_forgotten_in_one_run(pipeline: Pipeline) -> None:
    pipeline.submit()
    pipeline.execute(
        """
        INSERT INTO recent_submits (api_key_id, fingerprint, job_id, retry_count, created_at)
        SELECT api_key_id, int4send(number), job_id, 0, clock_timestamp() - interval '11 minutes'
        FROM recent_submits, generate_series(1, :count) AS number
        """,
        count=2 * KEYS_AT_ONCE + 1,
    )
    _retention(pipeline).run_once()
    assert pipeline.rows("SELECT count(*) FROM recent_submits") == [(1,)]


@dataclass
class SlowStorage(LocalStorage):
    """Each deletion takes `seconds` on a clock of its own, and one may fail; `deletions` has their keys."""

    storage: LocalStorage
    seconds: float
    now: float = 0.0
    deletions: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    fails_at: int = 0
    pauses: list[float] = field(default_factory=list[float])

    def __post_init__(self) -> None:
        super().__init__(self.storage.directory)

    def delete(self, *keys: str) -> None:
        self.deletions.append(keys)
        if len(self.deletions) == self.fails_at:
            raise StorageUnavailable("it is away, for the test")
        self.now += self.seconds
        super().delete(*keys)

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def _slow(pipeline: Pipeline, seconds: float, fails_at: int = 0) -> SlowStorage:
    assert isinstance(pipeline.runtime.storage, LocalStorage)
    return SlowStorage(pipeline.runtime.storage, seconds, fails_at=fails_at)


@pytest.mark.parametrize("seconds", [RUN_SECONDS / 2 - 1, RUN_SECONDS * 2])
def test_a_slow_storage_ends_the_run_and_what_was_deleted_is_forgotten(
    pipeline: Pipeline, seconds: float
) -> None:
    _ended(pipeline, 5, days=31)
    storage = _slow(pipeline, seconds)
    retention = replace(_retention(pipeline), storage=storage, clock=storage.clock, pause=storage.pause)
    first = retention.run_once()
    assert 1 <= first < 5
    assert storage.now < RUN_SECONDS + seconds
    assert _forgotten(pipeline) == first
    while retention.run_once():
        pass
    assert _forgotten(pipeline) == len(storage.deletions) == 5


def test_a_run_goes_on_while_there_is_time_and_keeps_what_it_did_before_a_failure(
    pipeline: Pipeline,
) -> None:
    _ended(pipeline, 10, days=31)
    storage = _slow(pipeline, 0, fails_at=3)
    retention = replace(_retention(pipeline), storage=storage, clock=storage.clock, pause=storage.pause)
    with pytest.raises(StorageUnavailable):
        retention.run_once()
    assert _forgotten(pipeline) == 1 + 2
    assert retention.run_once() == 10 - 3


@dataclass
class WatchedStorage(SlowStorage):
    """Notes how many jobs were forgotten before each deletion; the deletion `slow_at` takes too long."""

    forgotten: Callable[[], int] = int
    slow_at: int = 0
    before: list[int] = field(default_factory=list[int])

    def delete(self, *keys: str) -> None:
        self.before.append(self.forgotten())
        self.seconds = 2 * STEP_SECONDS if len(self.before) == self.slow_at else 0.0
        super().delete(*keys)


def test_steps_grow_while_they_are_short_and_shrink_when_one_is_long(pipeline: Pipeline) -> None:
    _ended(pipeline, 40, days=31)
    assert isinstance(pipeline.runtime.storage, LocalStorage)
    storage = WatchedStorage(pipeline.runtime.storage, 0.0, forgotten=lambda: _forgotten(pipeline), slow_at=4)
    replace(_retention(pipeline), storage=storage, clock=storage.clock, pause=storage.pause).run_once()
    steps = [after - before for before, after in pairwise([*storage.before, _forgotten(pipeline)])]
    assert steps == [1, 2, 4, 8, 4, 8, 13]
    assert storage.pauses == [0, 0, 0, STEP_SECONDS, 0, 0, 0]


def test_inputs_that_were_fetched_for_a_job_go_with_it(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(operation="edit", input_images=("https://example.com/a.png",))
    pipeline.execute(
        """UPDATE job_requests SET parameters = parameters || '{"mask": "https://example.com/m.png"}'"""
    )
    fetched = [f"inputs/fetched/{job_id}/{name}" for name in ("image_1", "mask")]
    for key in fetched:
        pipeline.runtime.storage.put(key, b"an image", "image/png")
    pipeline.settlement.end([job_id], JobStatus.ERROR, "for the test")
    _age(pipeline, 31)
    assert _retention(pipeline).run_once() == 1
    assert not any(pipeline.runtime.storage.exists(key) for key in fetched)


@pytest.mark.parametrize(
    ("state", "ended", "days", "stays"),
    [
        ("DELIVERED", 3, 2, False),
        ("DELIVERED", 1, 2, True),
        ("DEAD", 31, 2, False),
        ("DEAD", 29, 2, True),
        ("DEAD", 31, 40, True),
        ("DEAD", 41, 40, False),
    ],
)
def test_a_delivery_goes_after_its_own_end_and_a_dead_one_not_before_thirty_days(
    pipeline: Pipeline, state: str, ended: int, days: int, *, stays: bool
) -> None:
    pipeline.submit(webhook_url="https://example.com/hook")
    pipeline.run()
    _age(pipeline, 100)
    retention = _retention(pipeline, days)
    assert retention.run_once() == 1
    assert pipeline.rows("SELECT state FROM deliveries") == [("PENDING",)], "it has not ended"
    pipeline.execute(
        "INSERT INTO delivery_attempts (id, delivery_id, number, latency_ms, outcome)"
        " SELECT gen_random_uuid(), id, 1, 5, 'http_200' FROM deliveries"
    )
    pipeline.execute(
        "UPDATE deliveries SET state = :state, finished_at = now() - make_interval(days => :ended)",
        state=state,
        ended=ended,
    )
    retention.run_once()
    for table in ("deliveries", "delivery_attempts"):
        assert pipeline.rows(f"SELECT count(*) FROM {table}")[0][0] == int(stays), table  # noqa: S608


def test_the_jobs_of_a_batch_are_kept_until_its_own_retention_time_is_over(pipeline: Pipeline) -> None:
    backfill = Backfill(pipeline)
    batch_id = backfill.create([body(1), body(2)], line_limit=1)
    backfill.run()
    _age(pipeline, 31)
    assert _retention(pipeline).run_once() == 0, "the batch waits for a person"
    backfill.control.resume(pipeline.account_id, batch_id)
    backfill.run()
    _age(pipeline, 31)
    assert _retention(pipeline).run_once() == 0, "it has ended today"
    pipeline.execute("UPDATE batches SET ended_at = ended_at - interval '31 days'")
    assert _retention(pipeline).run_once() == 2
