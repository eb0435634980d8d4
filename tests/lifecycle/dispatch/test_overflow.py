"""When a deployment of a later order takes jobs that one of an earlier order could serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests import fleet
from tests.lifecycle.two_deployments import calls_at, complete
from tests.pipeline import Pipeline

pytestmark = pytest.mark.long


def test_a_later_order_takes_only_what_the_earlier_one_cannot_start_in_time(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {
        "first": {"rpm": 3, "window_seconds": 60, "pace": False, "order": 1},
        "spare": {"rpm": 1000, "window_seconds": 60, "pace": False, "order": 2},
    }
    with fleet.pipeline(engine, database_url, tmp_path, given) as ordered:
        ordered.submit(3)
        complete(ordered, 3)
        assert (calls_at(ordered, "first"), calls_at(ordered, "spare")) == (3, 0)
        ordered.submit(5)  # the next token of the first returns in a minute, not in five seconds
        complete(ordered, 8)
        assert (calls_at(ordered, "first"), calls_at(ordered, "spare")) == (3, 5)


def test_a_later_order_waits_where_the_earlier_one_starts_soon_enough(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {
        "first": {"rpm": 60, "window_seconds": 60, "order": 1},  # one a second
        "spare": {"rpm": 1000, "window_seconds": 60, "pace": False, "order": 2, "spill_after_seconds": 5},
    }
    with fleet.pipeline(engine, database_url, tmp_path, given) as ordered:
        ordered.submit(20)
        ordered.dispatch.run_once()
        rows = ordered.rows("SELECT deployment, count(*) FROM attempts GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in rows] == [("first", 1), ("spare", 15)]


def test_a_later_order_takes_over_when_the_earlier_one_is_out(two: Pipeline) -> None:
    two.execute("""
        INSERT INTO deployment_states (name, failures, opened_at, blocked_until)
        VALUES ('east', 5, clock_timestamp(), clock_timestamp() + interval '1 minute')
    """)
    two.submit(3)
    complete(two, 3)
    assert calls_at(two, "east") == 0


def test_a_later_order_carries_on_at_once_when_the_earlier_one_hangs_on_all_its_calls(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {
        "first": {"rpm": 1000, "window_seconds": 60, "pace": False, "order": 1, "max_in_flight": 2},
        "spare": {"rpm": 1000, "window_seconds": 60, "pace": False, "order": 2},
    }
    with fleet.pipeline(engine, database_url, tmp_path, given) as ordered:
        ordered.submit(6)
        ordered.dispatch.run_once()  # and the calls of the first are not answered
        rows = ordered.rows("SELECT deployment, count(*) FROM attempts GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in rows] == [("first", 2), ("spare", 4)]
        ordered.submit(3)
        ordered.dispatch.run_once()
        rows = ordered.rows("SELECT deployment, count(*) FROM attempts GROUP BY 1 ORDER BY 1")
        assert [tuple(row) for row in rows] == [("first", 2), ("spare", 7)]
