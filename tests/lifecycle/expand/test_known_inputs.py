"""Input images that lines name by URL are fetched once for their batch, and stored once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.backfill import Backfill
from tests.builders import MODEL, count
from tests.lifecycle.steps import UNTOUCHED, wallet
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
