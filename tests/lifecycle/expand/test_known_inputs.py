"""Input images that lines name by URL are fetched once for their batch, and stored once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from imagequeue.domain.ids import file_name, new_id
from imagequeue.lifecycle.generate.fetch_batch_inputs import PLACES
from imagequeue.store.batches.inputs import claim_input
from tests.backfill import Backfill
from tests.builders import MODEL, account, count
from tests.eventually import eventually
from tests.lifecycle.steps import UNTOUCHED, wallet
from tests.media.pictures import picture
from tests.origin import Origin
from tests.pipeline import Pipeline

URL = "/v1/images/edits"


def edit(url: str) -> dict[str, Any]:
    return {"model": MODEL, "prompt": "make it blue", "images": [{"image_url": url}]}


def states(backfill: Backfill, batch_id: object) -> Counter[str]:
    rows = backfill.pipeline.rows("SELECT state FROM batch_lines WHERE batch_id = :id", id=batch_id)
    return Counter(row.state for row in rows)


def test_an_image_that_many_lines_name_is_fetched_and_stored_once(editing: Pipeline, origin: Origin) -> None:
    backfill = Backfill(editing)
    batch_id = backfill.create([edit(f"{origin.url}/image.png")] * 4, URL)
    assert backfill.expand() == 0
    backfill.run()
    assert states(backfill, batch_id) == {"completed": 4}
    assert origin.requests == {"/image.png": 1}
    assert count(editing.runtime.engine, "input_images") == 1
    assert backfill.state(batch_id) == ("completed", set())


def test_a_url_that_brings_no_image_fails_its_lines_and_is_asked_again_by_a_retry_alone(
    editing: Pipeline, origin: Origin
) -> None:
    backfill = Backfill(editing)
    bad, good = f"{origin.url}/later.png", f"{origin.url}/image.png"
    batch_id = backfill.create([edit(bad), edit(good), edit(bad)], URL)
    backfill.run()
    lines = backfill.lines(batch_id)
    assert [(line.state, line.error_code) for line in lines] == [
        ("failed", "input_image"), ("completed", None), ("failed", "input_image")
    ]  # fmt: skip
    assert origin.requests == {"/later.png": 1, "/image.png": 1}
    origin.bodies["/later.png"] = origin.bodies["/image.png"]
    backfill.control.retry(editing.account_id, batch_id)
    backfill.run()
    assert states(backfill, batch_id) == {"completed": 3}
    assert origin.requests == {"/later.png": 2, "/image.png": 1}


def test_a_url_that_fails_for_a_while_is_tried_again_and_holds_no_money_meanwhile(
    editing: Pipeline, origin: Origin
) -> None:
    origin.statuses.extend([503])
    backfill = Backfill(editing)
    batch_id = backfill.create([edit(f"{origin.url}/image.png")], URL)
    backfill.run()
    assert (states(backfill, batch_id), wallet(editing)) == ({"waiting": 1}, UNTOUCHED)
    editing.execute("UPDATE batch_inputs SET due_at = clock_timestamp()")
    backfill.run()
    assert states(backfill, batch_id) == {"completed": 1}


def test_one_url_is_taken_at_a_time_also_where_the_database_expects_few(
    editing: Pipeline, origin: Origin
) -> None:
    backfill = Backfill(editing)
    backfill.create([edit(f"{origin.url}/image.png")], URL)
    assert backfill.expand() == 0
    editing.execute("ANALYZE batch_inputs, batches")
    backfill.create([edit(f"{origin.url}/image.png?{number}") for number in range(7)], URL)
    assert backfill.expand() == 0
    with editing.runtime.engine.begin() as connection:
        for join in ("hashjoin", "mergejoin", "material", "indexscan", "bitmapscan"):
            connection.exec_driver_sql(f"SET LOCAL enable_{join} = off")
        for taken in range(1, 9):
            assert claim_input(connection, [], 60) is not None
            query = "SELECT count(*) FROM batch_inputs WHERE tries > 0"
            assert connection.exec_driver_sql(query).scalar_one() == taken


def test_slow_urls_of_one_account_leave_places_to_the_images_of_another(
    editing: Pipeline, origin: Origin
) -> None:
    backfill = Backfill(editing)
    backfill.create([edit(f"{origin.url}/held.png?{number}") for number in range(16)], URL)
    assert backfill.expand() == 0
    with ThreadPoolExecutor(PLACES) as pool:
        tries = [pool.submit(backfill.inputs.run_once) for _ in range(PLACES)]
        eventually(lambda: origin.requests["/held.png"] == PLACES // 2)
        eventually(lambda: sum(one.done() for one in tries) == PLACES // 2)
        editing.account_id, _ = account(editing.runtime.engine, "other", funds="10")
        other = backfill.create([edit(f"{origin.url}/image.png")], URL)
        backfill.run()
        assert states(backfill, other) == {"completed": 1}
        assert origin.requests["/held.png"] == PLACES // 2
        origin.held.set()
        assert sum(one.result() for one in tries) == 16
    backfill.run()
    assert origin.requests["/held.png"] == 16


def test_a_file_of_the_account_may_be_the_image_and_one_of_another_account_may_not(editing: Pipeline) -> None:
    backfill = Backfill(editing)
    own, foreign = new_id(), new_id()
    strangers, _ = account(editing.runtime.engine, "strangers")
    for file_id, account_id in ((own, editing.account_id), (foreign, strangers)):
        editing.runtime.storage.put(f"files/{file_id}", picture(), "image/png")
        editing.execute(_FILE, id=file_id, account_id=account_id, key=f"files/{file_id}", size=len(picture()))
    names = [f"file:{file_name(one)}" for one in (own, foreign)]
    batch_id = backfill.create([edit(name) for name in (*names, names[0], "file:none")], URL)
    backfill.run()
    lines = backfill.lines(batch_id)
    assert [line.state for line in lines] == ["completed", "failed", "completed", "failed"]
    assert {line.error_code for line in lines} == {None, "input_image"}
    assert count(editing.runtime.engine, "input_images") == 1


_FILE = """
    INSERT INTO files (id, account_id, purpose, filename, storage_key, size_bytes, sha256, stored_at)
    VALUES (:id, :account_id, 'vision', 'fox.png', :key, :size, sha256('x'), clock_timestamp())
"""
