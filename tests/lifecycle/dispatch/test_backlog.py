"""What the dispatcher remembers: cursors save time, and hide no job for longer than a minute."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from imagequeue.domain.ids import new_id
from imagequeue.lifecycle.dispatch.backlog import MOST_SKIPPED, WHOLE_SECONDS, Backlog
from imagequeue.store.jobs.claims import ClaimRequest, lock_queued
from tests import builders

HOUR_MS = 3_600_000


@dataclass
class Lines:
    """Flows of a backfill with jobs in them, and a dispatcher's memory under a clock that the test moves."""

    engine: Engine
    account_id: UUID
    now: float = 0.0
    backlog: Backlog = field(init=False)

    def __post_init__(self) -> None:
        self.backlog = Backlog(clock=lambda: self.now)

    def open(self) -> int:
        """A new flow; its id."""
        statement = text("""
            INSERT INTO flows (model_id, requirement, account_id, lane)
            VALUES ('m', 'generate/auto/1/png/0/' || gen_random_uuid(), :account_id, 'backfill') RETURNING id
        """)
        with self.engine.begin() as connection:
            return connection.execute(statement, {"account_id": self.account_id}).scalar_one()

    def add(self, flow_id: int, *ages_ms: int) -> list[UUID]:
        """Jobs whose ids were made so long ago."""
        ids = [UUID(int=new_id().int - (age << 80)) for age in ages_ms]
        statement = text("""
            INSERT INTO jobs (id, account_id, flow_id, status, image_count, wanted, price_usd)
            SELECT id, :account_id, :flow_id, 'QUEUED', 1, 1, 0 FROM unnest(CAST(:ids AS uuid[])) AS id
        """)
        values = {"account_id": self.account_id, "flow_id": flow_id, "ids": ids}
        with self.engine.begin() as connection:
            connection.execute(statement, values)
        return ids

    def look(self) -> set[int]:
        """The flows that are found."""
        with self.engine.begin() as connection:
            return set(self.backlog.look(connection).queued)

    def claim(self, flow_id: int, limit: int) -> list[UUID]:
        """Claim as a pass of the dispatcher does."""
        with self.engine.begin() as connection:
            request = ClaimRequest(flow_id, limit, self.backlog.cursor(flow_id))
            jobs = lock_queued(connection, [request])
            ids = [job.id for job in jobs]
            started = text("UPDATE jobs SET status = 'PROCESSING', wanted = 0 WHERE id = ANY(:ids)")
            connection.execute(started, {"ids": ids})
        self.backlog.claimed(jobs)
        return ids


@pytest.fixture
def lines(engine: Engine) -> Lines:
    account_id, _ = builders.account(engine, "acme")
    return Lines(engine, account_id)


def test_every_flow_is_found_whichever_of_them_are_skipped_over(lines: Lines) -> None:
    flows = [lines.open() for _ in range(MOST_SKIPPED + 7)]
    for flow_id in flows:
        lines.add(flow_id, 2 * HOUR_MS, HOUR_MS)
    assert lines.look() == set(flows)
    for flow_id in flows[::2]:
        lines.claim(flow_id, 1)
    assert lines.look() == set(flows)
    for flow_id in flows[::4]:
        lines.claim(flow_id, 1)
    late = lines.open()
    lines.add(late, 0)
    assert lines.look() == {late, *flows} - set(flows[::4])


def test_a_claim_begins_behind_the_last_one(lines: Lines) -> None:
    flow_id = lines.open()
    old = lines.add(flow_id, 5000 + HOUR_MS, 4000 + HOUR_MS, 3000 + HOUR_MS)
    lines.look()
    assert lines.claim(flow_id, 2) == old[:2]
    lines.look()
    assert lines.backlog.cursor(flow_id) == old[1]
    assert lines.claim(flow_id, 2) == old[2:]


def test_a_job_with_a_smaller_id_that_comes_within_a_minute_is_not_hidden(lines: Lines) -> None:
    flow_id = lines.open()
    lines.add(flow_id, 0)
    lines.look()
    assert len(lines.claim(flow_id, 1)) == 1
    (late,) = lines.add(flow_id, 50_000)
    assert lines.look() == {flow_id}
    assert lines.claim(flow_id, 1) == [late]


def test_jobs_that_come_later_still_are_found_by_the_next_whole_look(lines: Lines) -> None:
    flow_id = lines.open()
    lines.add(flow_id, HOUR_MS, HOUR_MS - 1000)
    lines.look()
    lines.claim(flow_id, 1)
    late = lines.add(flow_id, 3 * HOUR_MS, 2 * HOUR_MS)
    lines.look()
    assert len(lines.claim(flow_id, 1)) == 1
    assert lines.look() == set()
    lines.now = WHOLE_SECONDS
    assert lines.look() == {flow_id}
    assert lines.claim(flow_id, 1) == late[:1]
    assert lines.look() == {flow_id}, "the cursor has moved back"
    assert lines.claim(flow_id, 1) == late[1:]


def test_what_waits_no_more_is_forgotten(lines: Lines) -> None:
    flow_id = lines.open()
    lines.add(flow_id, HOUR_MS)
    lines.look()
    lines.claim(flow_id, 1)
    assert lines.backlog.cursors
    lines.now = time.monotonic() + WHOLE_SECONDS
    lines.look()
    assert (lines.backlog.cursors, lines.backlog.claims) == ({}, {})
