"""What upstreams charge is kept per call, and what is left of the price per job."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from imagequeue.domain.verdicts import StoredImage, Succeeded
from tests.pipeline import Pipeline, RunningPipeline
from tests.upstreams import catalog_of, upstreams

PRICE = Decimal("0.05")


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
            catalog=catalog_of(name),
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
    late = StoredImage("v1/late/output.png", "image/png", 1024, 1024, 9)
    first = pipeline.rows("SELECT id FROM attempts ORDER BY id")[0].id
    pipeline.settlement.settle(first, Succeeded((late,)))
    row = _margin(pipeline)
    assert (row.charged_usd, row.cost_usd, row.duplicate_images) == (PRICE, 2 * Decimal("0.033"), 1)
    assert (row.margin_usd, row.unknown_calls) == (PRICE - 2 * Decimal("0.033"), 0)
