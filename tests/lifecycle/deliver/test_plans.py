"""What a job sends to Postgres is planned once in a session, and not each time anew."""

from __future__ import annotations

from tests.lifecycle.deliver.receiving import Webhooks

CUSTOM_PLANS = 5
"""Postgres plans a prepared statement so often by its values, before it compares them with a general plan."""

JOBS = 2 * CUSTOM_PLANS + 5
"""A statement is prepared when it is sent for the sixth time."""

HOT = ("quota_groups", "FOR UPDATE OF jobs", "FOR UPDATE SKIP LOCKED", "wallets", "webhook_", "deliveries")
"""Where the planner took an array of one for cheaper than an array of any length."""


def test_the_statements_of_a_job_are_planned_once(webhooks: Webhooks) -> None:
    for _ in range(JOBS):
        webhooks.finish_job()
        webhooks.deliver()
    with webhooks.pipeline.runtime.engine.begin() as connection:
        rows = connection.exec_driver_sql("""
            SELECT statement, custom_plans FROM pg_prepared_statements WHERE generic_plans + custom_plans > 5
        """)
        sent = {row.statement: row.custom_plans for row in rows}
    assert [part for part in HOT if not any(part in statement for statement in sent)] == []
    assert {statement: count for statement, count in sent.items() if count > CUSTOM_PLANS} == {}
