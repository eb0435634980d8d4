"""Redelivery of one job's webhooks, and recovery after an outage of the receiver."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from imagequeue.domain.errors import InvalidRequest, NotFound, TooManyRequests
from imagequeue.lifecycle.deliver import redeliver
from imagequeue.lifecycle.deliver.deliver import end_overdue
from imagequeue.lifecycle.deliver.redeliver import Recoveries, redeliver_job, start_recovery
from imagequeue.store import recoveries
from imagequeue.store.recoveries import Recovery
from tests.lifecycle.deliver.outbox import Outbox
from tests.lifecycle.deliver.receiving import Webhooks

TARGET = "https://a.example:443"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

_AN_HOUR_PASSES = (
    "UPDATE delivery_attempts SET started_at = started_at - interval '1 hour'",
    """UPDATE deliveries SET created_at = created_at - interval '1 hour',
        aged_from = aged_from - interval '1 hour', next_attempt_at = next_attempt_at - interval '1 hour',
        finished_at = finished_at - interval '1 hour'""",
)
"""Whatever the database knows of the time before is an hour old, so the clock has moved by one."""


def _again(webhooks: Webhooks) -> int:
    return redeliver_job(webhooks.pipeline.runtime.engine, webhooks.row().job_id)


def test_a_redelivery_has_the_same_id_and_body_and_a_fresh_time(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.deliver()
    for moved in _AN_HOUR_PASSES:
        webhooks.pipeline.execute(moved)
    (clock,) = webhooks.pipeline.rows("SELECT floor(extract(epoch FROM clock_timestamp())) AS now")
    assert _again(webhooks) == 1
    assert webhooks.deliver() == 1
    (first, body), (second, again) = webhooks.receiver.got
    assert (second["webhook-id"], again) == (first["webhook-id"], body)
    assert int(second["webhook-timestamp"]) >= clock.now, "not the hour-old time that is stored"
    began, again_began = (made.started_at for made in webhooks.attempts())
    assert again_began - began >= timedelta(hours=1)
    assert (first["x-webhook-attempt"], second["x-webhook-attempt"]) == ("1", "2")
    assert webhooks.row().state == "DELIVERED"


def test_a_redelivery_begins_the_schedule_and_the_age_again(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.receiver.status = 500
    webhooks.deliveries.recording = replace(webhooks.deliveries.recording, schedule=(0, 100))
    for _ in range(2):
        webhooks.due()
        webhooks.deliver()
    assert webhooks.row().state == "DEAD"
    webhooks.pipeline.execute("UPDATE deliveries SET aged_from = aged_from - interval '30 days'")
    _again(webhooks)
    assert end_overdue(webhooks.pipeline.runtime.engine, (0, 100)) == 0
    webhooks.deliver()
    row = webhooks.row()
    assert (row.state, row.attempt_count) == ("PENDING", 3)
    assert row.waits > timedelta(seconds=90)
    webhooks.due()
    webhooks.deliver()
    assert webhooks.row().state == "DEAD"


def test_a_redelivery_forgives_what_the_guard_blocked_before(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    webhooks.pipeline.execute("UPDATE deliveries SET url = 'https://10.1.2.3/hook'")
    for _ in range(3):
        webhooks.due()
        webhooks.deliver()
    assert webhooks.row().state == "DEAD"
    _again(webhooks)
    webhooks.deliver()
    assert webhooks.row().state == "PENDING"


def test_an_attempt_in_flight_is_not_disturbed(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    counts = list[int]()
    webhooks.receiver.meanwhile = lambda: counts.append(_again(webhooks))
    webhooks.deliver()
    assert counts == [0]
    assert len(webhooks.receiver.got) == 1
    assert webhooks.row().state == "DELIVERED"


def test_an_attempt_from_before_is_not_recorded_as_one_of_the_redelivery(webhooks: Webhooks) -> None:
    webhooks.finish_job()
    old = webhooks.begin()
    webhooks.pipeline.execute("UPDATE deliveries SET leased_until = clock_timestamp()")
    assert _again(webhooks) == 1
    webhooks.receiver.status = 500
    webhooks.make(old)
    assert (webhooks.attempts(), webhooks.row().attempt_count) == ([], 0)
    webhooks.receiver.status = 200
    webhooks.deliver()
    assert (webhooks.row().state, len(webhooks.attempts())) == ("DELIVERED", 1)


def test_a_job_without_a_webhook_has_nothing_to_redeliver(webhooks: Webhooks) -> None:
    (job_id,) = webhooks.pipeline.submit()
    with pytest.raises(NotFound):
        redeliver_job(webhooks.pipeline.runtime.engine, job_id)


class Outage:
    """Deliveries that died, with the times of their events."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.outbox = Outbox(engine, slots=16)
        self.account = self.outbox.account()
        self.recoveries = Recoveries(engine)

    def add(self, count: int, at: datetime, *, state: str = "DEAD", account: UUID | None = None) -> None:
        owner = account or self.account
        self.outbox.add(owner, TARGET, count)
        finished = "NULL" if state == "PENDING" else "clock_timestamp()"
        self.outbox.execute(
            f"UPDATE deliveries SET state = :state, finished_at = {finished}, created_at = :at,"  # noqa: S608
            " webhook_id = 'old', attempt_count = 12"
            " WHERE webhook_id = 'm' AND account_id = :owner",
            state=state,
            at=at,
            owner=owner,
        )

    def start(self, since: datetime = NOON, until: datetime = NOON + DAY) -> Recovery:
        return start_recovery(self.engine, self.account, since, until)

    def now(self, recovery: Recovery) -> Recovery:
        with self.engine.connect() as connection:
            found = recoveries.read(connection, recovery.account_id, recovery.id)
        assert found
        return found

    def states(self) -> dict[str, int]:
        rows: list[Any] = self.outbox.rows("SELECT state, count(*) AS n FROM deliveries GROUP BY state")
        return {row.state: row.n for row in rows}


@pytest.fixture
def outage(engine: Engine) -> Outage:
    return Outage(engine)


def test_a_recovery_takes_the_dead_of_its_range_by_the_time_of_the_event(outage: Outage) -> None:
    outage.add(1, NOON - timedelta(seconds=1))
    outage.add(2, NOON)
    outage.add(1, NOON + DAY)
    outage.add(1, NOON, state="DELIVERED")
    outage.add(1, NOON, state="PENDING")
    outage.add(1, NOON, account=outage.outbox.account())
    started = outage.start()
    assert outage.recoveries.run_once() == 2
    done = outage.now(started)
    assert done.finished_at is not None
    assert (done.redelivered, done.skipped) == (2, 0)
    assert outage.states() == {"DEAD": 3, "DELIVERED": 1, "PENDING": 3}


def test_a_long_recovery_goes_on_where_a_killed_dispatcher_left_it(
    outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redeliver, "REDELIVERED_AT_ONCE", 4)
    outage.add(10, NOON)
    started = outage.start()
    assert outage.recoveries.run_once() == 4
    assert outage.now(started).finished_at is None
    others = Recoveries(outage.engine)
    assert [others.run_once() for _ in range(3)] == [4, 2, 0]
    assert outage.now(started).redelivered == 10
    assert outage.states() == {"PENDING": 10}


def test_what_dies_again_while_a_recovery_runs_is_not_taken_twice(
    outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redeliver, "REDELIVERED_AT_ONCE", 4)
    outage.add(6, NOON)
    started = outage.start()
    outage.recoveries.run_once()
    outage.outbox.execute("UPDATE deliveries SET state = 'DEAD', finished_at = clock_timestamp()")
    outage.recoveries.run_once()
    assert outage.now(started).redelivered == 6
    assert outage.states() == {"DEAD": 4, "PENDING": 2}


def test_a_second_recovery_of_the_same_range_delivers_nothing_twice(outage: Outage) -> None:
    outage.add(3, NOON)
    first, second = outage.start(), outage.start()
    outage.recoveries.run_once()
    outage.recoveries.run_once()
    assert (outage.now(first).redelivered, outage.now(second).redelivered) == (3, 0)


def test_deliveries_with_too_many_attempts_are_counted_as_skipped(outage: Outage) -> None:
    outage.add(2, NOON)
    outage.outbox.execute("UPDATE deliveries SET attempt_count = 20000")
    started = outage.start()
    assert outage.recoveries.run_once() == 0
    assert (outage.now(started).skipped, outage.states()) == (2, {"DEAD": 2})


def test_an_empty_range_and_one_that_lies_ahead_are_refused(outage: Outage) -> None:
    for since, until in ((NOON, NOON), (NOON, NOON - DAY), (datetime.now(UTC) + DAY, NOON + 3650 * DAY)):
        with pytest.raises(InvalidRequest):
            outage.start(since, until)


def test_one_account_cannot_fill_the_line_of_recoveries(outage: Outage) -> None:
    for _ in range(redeliver.MOST_RUNNING):
        outage.start()
    with pytest.raises(TooManyRequests):
        outage.start()
    outage.recoveries.run_once()
    outage.start()
