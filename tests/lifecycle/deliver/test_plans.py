"""What a job sends to Postgres is planned once in a session, and not each time anew."""

from __future__ import annotations

from tests.lifecycle.deliver.receiving import Webhooks

CUSTOM_PLANS = 5
"""Postgres plans a prepared statement so often by its values, before it compares them with a general plan."""

JOBS = 2 * CUSTOM_PLANS + 5
"""A statement is prepared when it is sent for the sixth time."""

HOT = (
    "WITH clock AS MATERIALIZED",
    "FOR UPDATE OF jobs",
    "FROM webhook_endpoints",
    "FROM wallets",
    "SET served_at",
    "AS is_failing",
)
"""Where the planner took an array of one for cheaper than one of any length, whatever is in the tables."""


def test_statements_of_every_job_are_planned_once(webhooks: Webhooks) -> None:
    for _ in range(JOBS):
        webhooks.finish_job()
        webhooks.deliver()
    with webhooks.pipeline.runtime.engine.begin() as connection:
        rows = connection.exec_driver_sql("""
            SELECT statement, custom_plans FROM pg_prepared_statements WHERE generic_plans + custom_plans > 5
        """)
        sent = {row.statement: row.custom_plans for row in rows}
    planned = {part: count for part in HOT for text, count in sent.items() if part in text}
    assert planned == dict.fromkeys(HOT, CUSTOM_PLANS)
