"""From an accepted submit to a settled job."""

from __future__ import annotations

import json
from decimal import Decimal

from imagequeue.store.money.ledger import read_wallets
from tests.pipeline import Pipeline


def test_a_job_travels_all_the_way(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(prompt="a lighthouse")
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"
    assert pipeline.states(job_id) == ["SUCCEEDED"]
    assert [call["prompt"] for call in pipeline.calls()] == ["a lighthouse"]
    (image,) = pipeline.rows("SELECT * FROM images")
    assert (image.width, image.height, image.media_type) == (1024, 1024, "image/png")
    assert pipeline.runtime.storage.get(image.storage_key).startswith(b"\x89PNG")
    assert pipeline.final == [job_id]


def test_the_final_body_names_the_images_and_never_changes(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=3)
    pipeline.run()
    (row,) = pipeline.rows("SELECT body FROM job_results")
    body = json.loads(row.body)
    assert body["request_id"].endswith(str(job_id))
    assert body["status"] == "COMPLETED"
    assert len(set(body["output"]["media_url"])) == 3
    assert body["output"]["media_type"] == "image/png"
    assert body["completed_at"] == body["updated_at"]


def test_the_hold_is_captured_once(pipeline: Pipeline) -> None:
    pipeline.submit(2, image_count=2)
    pipeline.run()
    with pipeline.runtime.engine.connect() as connection:
        wallet = read_wallets(connection, [pipeline.account_id])[pipeline.account_id]
    assert (wallet.held, wallet.spent) == (Decimal(0), 4 * Decimal("0.039"))


def test_a_refusal_by_policy_fails_the_job_and_returns_the_hold(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(prompt="some forbidden-content here")
    pipeline.run()
    assert pipeline.status(job_id) == "FAILED"
    with pipeline.runtime.engine.connect() as connection:
        wallet = read_wallets(connection, [pipeline.account_id])[pipeline.account_id]
    assert (wallet.available, wallet.held, wallet.spent) == (Decimal(1000), Decimal(0), Decimal(0))


def test_the_events_are_the_statuses_in_order(pipeline: Pipeline) -> None:
    pipeline.submit()
    pipeline.run()
    rows = pipeline.rows("SELECT status FROM events ORDER BY id")
    assert [row.status for row in rows] == ["QUEUED", "PROCESSING", "COMPLETED"]


def test_several_images_are_several_calls_at_once(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(image_count=4)
    assert pipeline.dispatch.run_once() == 4
    assert pipeline.states(job_id) == ["RELEASED"] * 4
    pipeline.answer()
    assert pipeline.status(job_id) == "COMPLETED"
    ordinals = pipeline.rows("SELECT ordinal FROM images ORDER BY ordinal")
    assert [row.ordinal for row in ordinals] == [1, 2, 3, 4]


def test_an_outage_is_tried_again(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit()
    pipeline.fault(kind="status", status=500, count=1)
    pipeline.dispatch.run_once()
    pipeline.answer()
    assert pipeline.status(job_id) == "PROCESSING"
    pipeline.execute("UPDATE job_failures SET not_before = clock_timestamp()")
    pipeline.run()
    assert pipeline.status(job_id) == "COMPLETED"
    assert pipeline.states(job_id) == ["UNAVAILABLE", "SUCCEEDED"]


def test_a_webhook_is_written_with_the_final_state(pipeline: Pipeline) -> None:
    pipeline.submit(webhook_url="https://receiver.example.com:8443/hook")
    pipeline.run()
    (delivery,) = pipeline.rows("SELECT * FROM deliveries")
    (result,) = pipeline.rows("SELECT body FROM job_results")
    assert delivery.body == result.body
    assert delivery.target == "https://receiver.example.com:8443"
    assert delivery.state == "PENDING"
