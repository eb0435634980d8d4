"""The files of a batch that ends: every line in exactly one of them, also after a kill, a retry, a cancel."""

from __future__ import annotations

import base64
import threading
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from imagequeue import backfill_wiring
from imagequeue.lifecycle.backfill.result_files import ResultFiles
from imagequeue.media.storage import StorageUnavailable
from imagequeue.store.batches.result_files import ending_batches
from tests.backfill import Backfill, body
from tests.builders import account
from tests.pipeline import Pipeline

REFUSED = "forbidden-content"


@pytest.fixture
def backfill(pipeline: Pipeline) -> Backfill:
    return Backfill(pipeline, with_files=True)


@pytest.fixture
def writing(pipeline: Pipeline) -> ResultFiles:
    return backfill_wiring.result_files(pipeline.runtime, threading.Event())


def ended(backfill: Backfill, writing: ResultFiles, batch_id: UUID) -> tuple[str, list[Any], list[Any]]:
    """Run the batch to its end: its state, the lines of its output file, and those of its error file."""
    backfill.run()
    writing.run_once()
    backfill.run()
    (row,) = backfill.pipeline.rows("SELECT * FROM batches WHERE id = :id", id=batch_id)
    return row.state, backfill.result_lines(row.output_file_id), backfill.result_lines(row.error_file_id)


def names(lines: list[Any]) -> list[str]:
    return sorted(line["custom_id"] for line in lines)


def test_every_line_stands_in_exactly_one_file(backfill: Backfill, writing: ResultFiles) -> None:
    bodies = [body(1), body(2) | {"prompt": REFUSED}, body(3)]
    batch_id = backfill.create(bodies)
    state, output, errors = ended(backfill, writing, batch_id)
    assert state == "completed"
    assert (names(output), names(errors)) == (["line-1", "line-3"], ["line-2"])
    for line in output:
        assert line["response"]["status_code"] == 200
        (image,) = line["response"]["body"]["data"]
        assert set(image) == {"url"}
        assert line["error"] is None
    (refused,) = errors
    assert refused["error"]["code"] == "refused"
    assert refused["response"]["status_code"] == 400
    assert "error" in refused["response"]["body"]


def test_a_batch_without_errors_has_no_error_file(backfill: Backfill, writing: ResultFiles) -> None:
    batch_id = backfill.create([body(1)])
    state, output, errors = ended(backfill, writing, batch_id)
    assert (state, names(output), errors) == ("completed", ["line-1"], [])
    (row,) = backfill.pipeline.rows("SELECT error_file_id FROM batches WHERE id = :id", id=batch_id)
    assert row.error_file_id is None


def test_base64_is_in_the_file_where_the_body_asks_for_it(backfill: Backfill, writing: ResultFiles) -> None:
    batch_id = backfill.create([body(1, response_format="b64_json")])
    _, (line,), _ = ended(backfill, writing, batch_id)
    (image,) = line["response"]["body"]["data"]
    assert base64.b64decode(image["b64_json"]).startswith(b"\x89PNG")


@pytest.mark.parametrize("bound", ["image", "file"])
def test_what_is_too_large_for_the_file_is_named_by_its_url_and_the_line_says_so(
    backfill: Backfill, writing: ResultFiles, bound: str
) -> None:
    if bound == "image":
        writing = replace(writing, writer=replace(writing.writer, most_image_bytes=0))
    else:
        writing = replace(writing, most_file_bytes=0)
    batch_id = backfill.create([body(1, response_format="b64_json")])
    _, (line,), _ = ended(backfill, writing, batch_id)
    (image,) = line["response"]["body"]["data"]
    assert set(image) == {"url"}
    assert "bytes" in line["note"]


def test_lines_that_did_not_run_stand_in_the_error_file(backfill: Backfill, writing: ResultFiles) -> None:
    batch_id = backfill.create([body(number) for number in range(1, 4)])
    backfill.control.cancel(backfill.pipeline.account_id, batch_id)
    state, output, errors = ended(backfill, writing, batch_id)
    assert (state, output, names(errors)) == ("cancelled", [], ["line-1", "line-2", "line-3"])
    assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
    assert {line["response"] for line in errors} == {None}


def test_a_retry_writes_new_files_and_the_earlier_ones_stay(backfill: Backfill, writing: ResultFiles) -> None:
    batch_id = backfill.create([body(1), body(2) | {"prompt": REFUSED}])
    ended(backfill, writing, batch_id)
    (before,) = backfill.pipeline.rows("SELECT * FROM batches WHERE id = :id", id=batch_id)
    backfill.control.retry(backfill.pipeline.account_id, batch_id)
    (open_again,) = backfill.pipeline.rows("SELECT * FROM batches WHERE id = :id", id=batch_id)
    assert (open_again.output_file_id, open_again.completed_at) == (None, None)
    state, output, errors = ended(backfill, writing, batch_id)
    assert (state, names(output), names(errors)) == ("completed", ["line-1"], ["line-2"])
    (after,) = backfill.pipeline.rows("SELECT * FROM batches WHERE id = :id", id=batch_id)
    assert after.output_file_id != before.output_file_id
    assert names(backfill.result_lines(before.output_file_id)) == ["line-1"]


def test_while_somebody_writes_nobody_else_does_and_a_lease_that_runs_out_is_written_anew(
    backfill: Backfill, writing: ResultFiles, pipeline: Pipeline
) -> None:
    batch_id = backfill.create([body(1)])
    backfill.run()
    assert backfill.state(batch_id)[0] == "finalizing"
    pipeline.execute(
        "INSERT INTO files (id, account_id, purpose, filename, storage_key, batch_id, leased_until)"
        " VALUES (gen_random_uuid(), :account_id, '', :name, 'files/killed', :id,"
        " clock_timestamp() + interval '1 minute')",
        account_id=pipeline.account_id,
        name=f"batch_{batch_id.hex}_output.jsonl",
        id=batch_id,
    )
    assert writing.run_once() == 0
    assert backfill.supervision.run_once() == 0
    pipeline.execute("UPDATE files SET leased_until = clock_timestamp() WHERE storage_key = 'files/killed'")
    assert writing.run_once() == 1
    assert ended(backfill, writing, batch_id)[0] == "completed"


def test_a_storage_that_is_away_delays_the_end_and_loses_nothing(
    backfill: Backfill, writing: ResultFiles
) -> None:
    batch_id = backfill.create([body(1, response_format="b64_json")])
    backfill.run()

    def away(key: str) -> bytes:
        raise StorageUnavailable(key)

    broken = replace(writing, writer=replace(writing.writer, content=away))
    with pytest.raises(StorageUnavailable):
        broken.run_once()
    assert backfill.state(batch_id)[0] == "finalizing"
    assert ended(backfill, writing, batch_id)[0] == "completed"


def test_a_batch_that_cannot_be_written_now_delays_no_other(backfill: Backfill, writing: ResultFiles) -> None:
    waits, other = backfill.create([body(1, response_format="b64_json")]), backfill.create([body(1)])
    backfill.run()

    def away(key: str) -> bytes:
        raise StorageUnavailable(key)

    broken = replace(writing, writer=replace(writing.writer, content=away))
    assert broken.run_once() == 1
    backfill.run()
    assert [backfill.state(one)[0] for one in (waits, other)] == ["finalizing", "completed"]
    with pytest.raises(StorageUnavailable):
        broken.run_once()
    assert ended(backfill, writing, waits)[0] == "completed"


def test_an_image_that_is_not_stored_any_more_is_named_by_its_url_and_the_batch_ends(
    backfill: Backfill, writing: ResultFiles
) -> None:
    batch_id = backfill.create([body(1, response_format="b64_json")])
    backfill.run()
    (image,) = backfill.pipeline.rows("SELECT storage_key FROM images")
    backfill.pipeline.runtime.storage.delete(image.storage_key)
    state, (line,), _ = ended(backfill, writing, batch_id)
    assert (state, set(line["response"]["body"]["data"][0])) == ("completed", {"url"})
    assert "is not stored" in line["note"]


def test_the_batches_of_one_account_leave_a_place_for_another_one(backfill: Backfill) -> None:
    pipeline = backfill.pipeline
    first, _, last = [backfill.create([body(1)]) for _ in range(3)]
    other, _ = account(pipeline.runtime.engine, "other")
    backfill.run()
    pipeline.execute("UPDATE batches SET account_id = :other WHERE id = :id", other=other, id=last)
    with pipeline.runtime.engine.connect() as connection:
        assert {one.id for one in ending_batches(connection, 2)} == {first, last}


def test_an_output_file_expires_as_the_batch_says(backfill: Backfill, writing: ResultFiles) -> None:
    batch_id = backfill.create([body(1)], output_expires_after_seconds=3600)
    ended(backfill, writing, batch_id)
    (file,) = backfill.pipeline.rows(
        "SELECT expires_at - created_at AS life FROM files WHERE batch_id = :id", id=batch_id
    )
    assert file.life.total_seconds() == 3600


def test_a_process_that_stops_gives_a_half_written_file_up(backfill: Backfill, writing: ResultFiles) -> None:
    batch_id = backfill.create([body(1)])
    backfill.run()
    asked = iter([False, True])
    assert replace(writing, stopping=lambda: next(asked)).run_once() == 0
    assert ended(backfill, writing, batch_id)[0] == "completed"
