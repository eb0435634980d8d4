"""What upstreams charge is kept per call, and what is left of the price per job."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from imagequeue.domain.verdicts import StoredImage, Succeeded
from tests.media.pictures import picture
from tests.pipeline import Pipeline, RunningPipeline
from tests.upstreams import UNDOCUMENTED_FORMS, catalog_of, upstreams

PRICE = Decimal("0.05")
CALL_SECONDS = 10.0
"""Of a call: a link that leads to no image is asked again until they are over."""


@pytest.fixture
def serving(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Any]:
    """Makes a pipeline with one deployment, whose upstream charges 0.062683 an image where it says so."""
    running = list[RunningPipeline]()

    def start(name: str) -> Pipeline:
        context = RunningPipeline(
            engine,
            database_url,
            tmp_path,
            upstreams=upstreams(cost_usd="0.062683"),
            catalog=catalog_of(name, timeout_seconds=CALL_SECONDS),
        )
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


def _costs(pipeline: Pipeline) -> list[Decimal | None]:
    return [row.cost_usd for row in pipeline.rows("SELECT cost_usd FROM attempts ORDER BY id")]


def _margin(pipeline: Pipeline) -> Any:
    (row,) = pipeline.rows("SELECT * FROM job_margins")
    return row


@pytest.mark.parametrize("name", ["aiml", "openrouter", "omixa"])
def test_what_the_upstream_says_counts(serving: Any, name: str) -> None:
    pipeline: Pipeline = serving(name)
    pipeline.submit()
    pipeline.run()
    assert _costs(pipeline) == [Decimal("0.062683")]
    row = _margin(pipeline)
    assert (row.charged_usd, row.cost_usd, row.margin_usd) == (
        PRICE,
        Decimal("0.062683"),
        Decimal("-0.012683"),
    )


def test_what_the_catalog_says_counts_where_the_answer_does_not_say(serving: Any) -> None:
    pipeline: Pipeline = serving("east")
    pipeline.submit(image_count=2)
    pipeline.run()
    assert _costs(pipeline) == [Decimal("0.033")] * 2
    row = _margin(pipeline)
    assert (row.status, row.charged_usd, row.margin_usd) == (
        "COMPLETED",
        2 * PRICE,
        2 * (PRICE - Decimal("0.033")),
    )


def test_a_call_for_several_images_costs_all_of_them(serving: Any) -> None:
    pipeline: Pipeline = serving("omixa")
    pipeline.submit(image_count=3)
    pipeline.run()
    assert _costs(pipeline) == [3 * Decimal("0.062683")]


def test_an_outage_costs_nothing(serving: Any) -> None:
    pipeline: Pipeline = serving("east")
    pipeline.fault(kind="status", status=500, count=1)
    pipeline.submit()
    pipeline.run()
    assert _costs(pipeline) == [None]
    assert _margin(pipeline).cost_usd == 0


@pytest.mark.parametrize("name", ["east", "aiml", "openrouter"])
def test_an_image_in_a_form_that_no_document_has_is_bought_once(serving: Any, name: str) -> None:
    pipeline: Pipeline = serving(name)
    for number, (form, fault) in enumerate(UNDOCUMENTED_FORMS.items(), start=1):
        pipeline.fault(**fault)
        (job_id,) = pipeline.submit()
        pipeline.run()
        assert pipeline.status(job_id) == "COMPLETED", form
        assert len(_costs(pipeline)) == number, form
        pipeline.heal()


UNUSABLE: dict[str, dict[str, Any]] = {
    "text": {"kind": "not_an_image"},
    "a bomb": {"kind": "bomb"},
    "half of it": {"kind": "truncated_base64"},
}


@pytest.mark.parametrize("what", UNUSABLE)
@pytest.mark.parametrize("name", ["omixa", "aiml", "openrouter"])
def test_what_an_unusable_image_cost_is_recorded(serving: Any, name: str, what: str) -> None:
    pipeline: Pipeline = serving(name)
    pipeline.fault(**UNUSABLE[what], count=1)
    pipeline.submit()
    pipeline.run()
    assert _costs(pipeline)[0] == Decimal("0.062683")
    assert _margin(pipeline).cost_usd >= Decimal("0.062683")


@pytest.mark.parametrize("what", ["text", "a bomb"])
def test_an_unusable_image_costs_what_the_catalog_says_where_the_answer_does_not(
    serving: Any, what: str
) -> None:
    pipeline: Pipeline = serving("east")
    pipeline.fault(**UNUSABLE[what], count=1)
    pipeline.submit()
    pipeline.run()
    assert _costs(pipeline)[0] == Decimal("0.033")


def test_a_refusal_inside_a_success_that_was_charged_is_a_cost(serving: Any) -> None:
    pipeline: Pipeline = serving("openrouter")
    choice = {"native_finish_reason": "IMAGE_SAFETY", "message": {"content": "It would show a person."}}
    pipeline.fault(kind="status", status=200, body={"choices": [choice], "usage": {"cost": 0.01}})
    (job_id,) = pipeline.submit()
    pipeline.run()
    assert pipeline.status(job_id) == "FAILED"
    assert _costs(pipeline) == [Decimal("0.01")]


def test_a_cost_that_no_column_holds_loses_no_image(serving: Any) -> None:
    pipeline: Pipeline = serving("omixa")
    image = base64.b64encode(picture()).decode()
    body = json.dumps({"data": [{"b64_json": image}], "usage": {"billed_amount": "<cost>"}})
    for cost in ("1e-20000", "1e99999999999", "9" * 5000):
        pipeline.fault(kind="status", status=200, body=body.replace('"<cost>"', cost), count=1)
        (job_id,) = pipeline.submit()
        pipeline.run()
        assert pipeline.status(job_id) == "COMPLETED"
    assert _costs(pipeline) == [Decimal("0.039")] * 3


def test_a_refused_job_brings_nothing(serving: Any) -> None:
    pipeline: Pipeline = serving("east")
    pipeline.submit(prompt="some forbidden-content here")
    pipeline.run()
    row = _margin(pipeline)
    assert (row.status, row.charged_usd, row.margin_usd) == ("FAILED", 0, 0)


def test_a_duplicate_is_a_cost_without_a_price(serving: Any) -> None:
    """A call whose outcome was unknown is made again; then the first one turns out to have succeeded too."""
    pipeline: Pipeline = serving("east")
    pipeline.submit()
    pipeline.fault(kind="reset", count=1)
    pipeline.dispatch.run_once()
    pipeline.answer()
    assert _margin(pipeline).unknown_calls == 1
    pipeline.execute("UPDATE job_failures SET not_before = clock_timestamp()")
    pipeline.run()
    late = StoredImage("v1/late/output.png", "image/png", 1024, 1024, 9, bytes(32))
    first = pipeline.rows("SELECT id FROM attempts ORDER BY id")[0].id
    pipeline.settlement.settle(first, Succeeded((late,)))
    row = _margin(pipeline)
    assert (row.charged_usd, row.cost_usd, row.duplicate_images) == (PRICE, 2 * Decimal("0.033"), 1)
    assert (row.margin_usd, row.unknown_calls) == (PRICE - 2 * Decimal("0.033"), 0)


REFUSALS = {"the images": ("images", "width < 0"), "the money": ("ledger_entries", "kind <> 'CAPTURE'")}


@pytest.mark.parametrize("name", ["aiml", "east"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_cost_of_a_call_whose_outcome_the_database_refuses_is_on_record_with_the_reason(
    serving: Any, name: str, refusal: str
) -> None:
    pipeline: Pipeline = serving(name)
    (job_id,) = pipeline.submit()
    table, check = REFUSALS[refusal]
    pipeline.execute(f"ALTER TABLE {table} ADD CONSTRAINT refuses CHECK ({check}) NOT VALID")
    pipeline.run()
    ((state, reason, cost),) = pipeline.rows("SELECT state, reason, cost_usd FROM attempts")
    assert (state, cost) == ("CALLING", Decimal("0.062683" if name == "aiml" else "0.033"))
    assert reason.startswith("its outcome could not be recorded: ")
    pipeline.execute(f"ALTER TABLE {table} DROP CONSTRAINT refuses")
    pipeline.execute("DELETE FROM processes")  # its process is found dead
    pipeline.sweep.recover()
    assert pipeline.status(job_id) == "COMPLETED"
    assert _costs(pipeline) == [cost], "what the upstream said"
    assert len(pipeline.calls()) == 1
