"""What a look for polls costs: it grows with the places of polls, not with the attempts that sleep."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text

from imagequeue.domain.jobs import Lane
from imagequeue.store.attempts import polls
from imagequeue.store.attempts.polls import PollCounts
from tests.pipeline import Pipeline

PLACES, LEASED, DUE, SLEEPING = 8, 3, 20, 5_000
BLOCKS = 200
"""Of 8 KiB; the rows that sleep fill several times as many."""


def _fall_asleep(of: Pipeline) -> None:
    """Attempts at two deployments, of which few are due and fewer still are asked for."""
    of.submit()
    assert of.dispatch.run_once() == 1
    of.execute(
        """
        INSERT INTO attempts (id, job_id, deployment, quota_group, lane, image_count, state, slot_at,
            token_returns_at, release_deadline, poll_after, poll_leased_until, polled_by)
        SELECT gen_random_uuid(), job_id, name, quota_group, lane, 1, 'SLEEPING', slot_at, slot_at, slot_at,
            clock_timestamp() + make_interval(secs => CASE WHEN n <= :due THEN -60 ELSE 3600 END),
            CASE WHEN n > :due AND n <= :due + :leased THEN clock_timestamp() + interval '1 hour' END,
            CASE WHEN n > :due AND n <= :due + :leased THEN CAST(:process_id AS uuid) END
        FROM attempts, generate_series(1, :sleeping) AS n, (VALUES ('a'), ('b')) AS d (name)
    """,
        due=DUE,
        leased=LEASED,
        sleeping=SLEEPING,
        process_id=of.process_id,
    )
    of.execute("ANALYZE attempts")


def _blocks(connection: Connection) -> int:
    """How many blocks this session has read of the table of attempts; what changes it, ends a transaction."""
    return connection.execute(
        text("""
            SELECT sum(pg_stat_get_xact_blocks_fetched(oid))::int FROM pg_class
            WHERE oid = 'attempts'::regclass
                OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'attempts'::regclass)
        """)
    ).scalar_one()


def test_a_look_reads_what_is_due_and_leased_however_many_sleep(pipeline: Pipeline, engine: Engine) -> None:
    _fall_asleep(pipeline)
    with engine.connect() as connection:
        before = _blocks(connection)
        counts = polls.count_polls(connection, {Lane.INTERACTIVE: PLACES, Lane.BACKFILL: PLACES})
        rung = polls.ring_polls(connection, Lane.INTERACTIVE, {"a": 2, "b": 2})
        read = _blocks(connection) - before
    expected = PollCounts({"a": LEASED, "b": LEASED}, {"a": PLACES, "b": PLACES})
    assert counts == {Lane.INTERACTIVE: expected}
    assert len(rung) == 4
    assert 0 < read < BLOCKS


@pytest.mark.parametrize("places", [{}, {Lane.INTERACTIVE: 0}])
def test_without_places_nothing_is_due(pipeline: Pipeline, engine: Engine, places: dict[Lane, int]) -> None:
    _fall_asleep(pipeline)
    with engine.connect() as connection:
        assert all(not any(counts.due.values()) for counts in polls.count_polls(connection, places).values())
