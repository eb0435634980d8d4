"""Who writes a result file dies in the middle: when its lease is over it is written anew, as a whole."""

from __future__ import annotations

import pytest

from imagequeue import backfill_wiring
from tests.backfill import Backfill, body
from tests.crash.conftest import Crash

REFUSED = "forbidden-content"
_LEFT_OVER = "SELECT id, storage_key FROM files WHERE batch_id IS NOT NULL AND stored_at IS NULL"


@pytest.mark.parametrize("point", ["results.part_written", "results.before_finish"])
def test_a_file_that_a_killed_process_left_is_written_anew_and_has_every_line_once(
    crash: Crash, point: str
) -> None:
    backfill = Backfill(crash.pipeline, with_files=True)
    batch_id = backfill.create([body(1), body(2) | {"prompt": REFUSED}, body(3)])
    backfill.run()
    crash.die("write-results", point)
    (left,) = crash.pipeline.rows(_LEFT_OVER)
    backfill.run()
    assert backfill.state(batch_id) == ("finalizing", set()), "half a file is none"
    assert crash.run("write-results") == 0
    assert crash.pipeline.rows(_LEFT_OVER) == [left], "the lease goes on"
    crash.pipeline.execute("UPDATE files SET leased_until = clock_timestamp() WHERE id = :id", id=left.id)
    assert crash.run("write-results") == 0
    backfill.run()
    (ended,) = crash.pipeline.rows("SELECT * FROM batches WHERE id = :id", id=batch_id)
    output, errors = (backfill.result_lines(one) for one in (ended.output_file_id, ended.error_file_id))
    assert ended.state == "completed"
    assert [line["custom_id"] for line in output] == ["line-1", "line-3"]
    assert [line["custom_id"] for line in errors] == ["line-2"]
    assert len(crash.pipeline.calls()) == 3, "nothing is bought for a file"
    assert backfill_wiring.file_retention(crash.pipeline.runtime).run_once() == 1
    assert crash.pipeline.rows(_LEFT_OVER) == []
