"""The process dies while it validates a file: the next one goes on there, and no line is lost or doubled."""

from __future__ import annotations

import pytest

from tests.crash.conftest import Crash, MakeCrash
from tests.lifecycle.backfill.batches import Batches, line, written

COUNT = 4500
"""Lines: three chunks."""


@pytest.fixture
def crash(make_crash: MakeCrash) -> Crash:
    return make_crash()


def _batches(crash: Crash) -> Batches:
    return Batches.of(crash.pipeline.runtime)


def _end_leases(crash: Crash) -> None:
    crash.pipeline.execute(
        "UPDATE batch_parts SET leased_until = clock_timestamp() WHERE leased_until IS NOT NULL"
    )


@pytest.mark.parametrize(
    ("point", "reached"), [("validate.before_commit", 0), ("validate.after_commit", 2000)]
)
def test_a_killed_validation_goes_on_where_it_was(crash: Crash, point: str, reached: int) -> None:
    batches = _batches(crash)
    batch_id = batches.create(written(*(line(str(number)) for number in range(COUNT))))
    crash.die("validate", point)
    part = batches.row("SELECT * FROM batch_parts WHERE batch_id = :id", batch_id)
    assert (part.state, part.line_reached, part.line_count) == ("validating", reached, reached)
    assert len(list(batches.lines(batch_id))) == reached
    assert crash.run("validate") == 0
    assert batches.state(batch_id) == "validating", "the lease goes on"
    _end_leases(crash)
    assert crash.run("validate") == 0
    assert batches.state(batch_id) == "in_progress"
    assert [one.custom_id for one in batches.lines(batch_id)] == [str(number) for number in range(COUNT)]
    assert batches.counts(batch_id) == {"total": COUNT, "waiting": COUNT}


def test_a_duplicate_of_a_line_that_a_killed_process_wrote_is_found(crash: Crash) -> None:
    batches = _batches(crash)
    batch_id = batches.create(written(*(line(str(number)) for number in range(COUNT)), line("7")))
    crash.die("validate", "validate.after_commit")
    _end_leases(crash)
    assert crash.run("validate") == 0
    (error,) = batches.errors(batch_id)
    assert error["message"] == f"custom_id: '7' is in line {COUNT + 1} and in line 8"


def test_the_lines_of_a_failed_file_are_deleted_by_the_next_process(crash: Crash) -> None:
    batches = _batches(crash)
    batch_id = batches.create(written(*(line(str(number)) for number in range(COUNT))) + b"no json")
    crash.die("validate", "validate.failed")
    assert (batches.state(batch_id), len(list(batches.lines(batch_id)))) == ("failed", COUNT)
    _end_leases(crash)
    assert crash.run("validate") == 0
    assert list(batches.lines(batch_id)) == []
    assert batches.row("SELECT leased_until FROM batch_parts WHERE batch_id = :id", batch_id) == (None,)
