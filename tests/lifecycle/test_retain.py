"""After the retention time: what clients sent and got is gone, money and the final status stay."""

from __future__ import annotations

from decimal import Decimal

from imagequeue.lifecycle.retain import KEYS_AT_ONCE, Retention
from imagequeue.store.ledger import read_wallets
from tests.pipeline import Pipeline


def _retention(pipeline: Pipeline) -> Retention:
    return Retention(pipeline.runtime.engine, pipeline.runtime.storage, days=30)


def _age(pipeline: Pipeline, days: int) -> None:
    pipeline.execute("UPDATE jobs SET finished_at = finished_at - make_interval(days => :days)", days=days)


def test_an_expired_job_keeps_its_money_and_its_status_and_nothing_else(pipeline: Pipeline) -> None:
    (job_id,) = pipeline.submit(prompt="a secret wish", image_count=2, webhook_url="https://example.com/hook")
    pipeline.run()
    keys = [row.storage_key for row in pipeline.rows("SELECT storage_key FROM images")]
    pipeline.execute("UPDATE deliveries SET state = 'DEAD', finished_at = now()")
    _age(pipeline, 31)
    assert _retention(pipeline).run_once() == 1
    assert not any(pipeline.runtime.storage.exists(key) for key in keys)
    for table in ("images", "attempts", "events", "deliveries"):
        assert pipeline.rows(f"SELECT count(*) FROM {table}")[0][0] == 0, table  # noqa: S608
    assert pipeline.rows("SELECT prompt, webhook_url FROM job_requests") == [("", None)]
    assert pipeline.status(job_id) == "COMPLETED"
    with pipeline.runtime.engine.connect() as connection:
        wallet = read_wallets(connection, [pipeline.account_id])[pipeline.account_id]
    assert wallet.spent == 2 * Decimal("0.039")
    assert _retention(pipeline).run_once() == 0


def test_a_job_within_the_retention_time_and_a_live_one_are_left_alone(pipeline: Pipeline) -> None:
    pipeline.submit()
    pipeline.run()
    pipeline.submit()
    _age(pipeline, 29)
    assert _retention(pipeline).run_once() == 0
    assert pipeline.rows("SELECT count(*) FROM images")[0][0] == 1


def test_every_submit_that_no_repeat_can_meet_is_forgotten_in_one_turn(pipeline: Pipeline) -> None:
    pipeline.submit()
    pipeline.execute(
        """
        INSERT INTO recent_submits (api_key_id, fingerprint, job_id, retry_count, created_at)
        SELECT api_key_id, int4send(number), job_id, 0, clock_timestamp() - interval '11 minutes'
        FROM recent_submits, generate_series(1, :count) AS number
        """,
        count=2 * KEYS_AT_ONCE + 1,
    )
    _retention(pipeline).run_once()
    assert pipeline.rows("SELECT count(*) FROM recent_submits") == [(1,)]
