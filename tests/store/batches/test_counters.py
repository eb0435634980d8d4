"""Lines move in one statement, which counts them and numbers those that finish."""

from __future__ import annotations

import threading
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from imagequeue.domain.batches import LineState
from imagequeue.domain.ids import new_id
from imagequeue.store.batches.counters import LineChange, move_lines
from tests.lines import batch_with_lines

WAITING, QUEUED, COMPLETED, FAILED = (
    LineState.WAITING,
    LineState.QUEUED,
    LineState.COMPLETED,
    LineState.FAILED,
)


def counts(connection: Connection, batch_id: UUID) -> dict[str, object]:
    row = connection.execute(text("SELECT * FROM batch_counters WHERE batch_id = :id"), {"id": batch_id})
    return {name: value for name, value in row.mappings().one().items() if value}


def finished(connection: Connection, batch_id: UUID) -> list[int | None]:
    statement = text("SELECT finished FROM batch_lines WHERE batch_id = :id ORDER BY number")
    return list(connection.execute(statement, {"id": batch_id}).scalars())


def test_lines_of_two_batches_move_and_are_counted_in_one_statement(engine: Engine) -> None:
    with engine.begin() as connection:
        first, second = batch_with_lines(connection, 3), batch_with_lines(connection, 2)
        changes = [
            LineChange(first, 1, WAITING, QUEUED, job_id=new_id(), held_usd=Decimal("0.039")),
            LineChange(second, 2, WAITING, FAILED, error_code="invalid_request", error_message="no"),
        ]
        assert move_lines(connection, changes) == {(first, 1), (second, 2)}
        assert counts(connection, first) == {
            "batch_id": first, "total": 3, "waiting": 2, "queued": 1, "held_usd": Decimal("0.039")
        }  # fmt: skip
        assert counts(connection, second) == {
            "batch_id": second, "total": 2, "waiting": 1, "failed": 1, "finished": 1
        }  # fmt: skip
        done = LineChange(
            first, 1, QUEUED, COMPLETED, held_usd=Decimal("-0.039"), spent_usd=Decimal("0.039"), images=1
        )
        move_lines(connection, [done])
        assert counts(connection, first) == {
            "batch_id": first, "total": 3, "waiting": 2, "completed": 1, "finished": 1, "images": 1,
            "spent_usd": Decimal("0.039"),
        }  # fmt: skip


def test_a_line_that_has_moved_on_is_neither_changed_nor_counted(engine: Engine) -> None:
    with engine.begin() as connection:
        batch_id = batch_with_lines(connection, 1)
        late = LineChange(batch_id, 1, QUEUED, COMPLETED)
        unheard_of = LineChange(batch_id, 1, WAITING, COMPLETED)
        assert move_lines(connection, [late]) == set()
        assert move_lines(connection, [unheard_of]) == set()
        assert counts(connection, batch_id) == {"batch_id": batch_id, "total": 1, "waiting": 1}


def test_a_retried_line_gets_a_new_and_higher_number(engine: Engine) -> None:
    with engine.begin() as connection:
        batch_id = batch_with_lines(connection, 2)
        move_lines(connection, [LineChange(batch_id, n, WAITING, FAILED, error_code="x") for n in (1, 2)])
        assert finished(connection, batch_id) == [1, 2]
        move_lines(connection, [LineChange(batch_id, 1, FAILED, WAITING)])
        assert finished(connection, batch_id) == [None, 2]
        move_lines(connection, [LineChange(batch_id, 1, WAITING, FAILED, error_code="x")])
        assert finished(connection, batch_id) == [3, 2]


def test_numbers_follow_the_order_of_commits_without_gaps(engine: Engine) -> None:
    with engine.begin() as connection:
        batch_id = batch_with_lines(connection, 40)
    threads = [threading.Thread(target=_fail, args=(engine, batch_id, at)) for at in range(1, 41, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.begin() as connection:
        numbers = [number for number in finished(connection, batch_id) if number]
        assert sorted(numbers) == list(range(1, 41))
        assert counts(connection, batch_id) == {
            "batch_id": batch_id, "total": 40, "failed": 40, "finished": 40
        }  # fmt: skip


def _fail(engine: Engine, batch_id: UUID, begin: int) -> None:
    for number in range(begin, begin + 10):
        with engine.begin() as connection:
            move_lines(connection, [LineChange(batch_id, number, WAITING, FAILED, error_code="x")])


def test_counters_that_do_not_add_up_are_refused(engine: Engine) -> None:
    with engine.connect() as connection:
        batch_id = batch_with_lines(connection, 1)
        with pytest.raises(IntegrityError, match="total_is_the_sum"):
            connection.execute(
                text("UPDATE batch_counters SET waiting = 0 WHERE batch_id = :id"), {"id": batch_id}
            )
