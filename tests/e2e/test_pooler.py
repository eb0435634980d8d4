"""A whole stack behind Debian's PgBouncer in transaction mode."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.databases import ReusedDatabase
from tests.e2e.live import SUBMIT, LiveStack
from tests.pgbouncer import pgbouncer

pytestmark = pytest.mark.long

JOBS = 60


def test_a_stack_behind_a_pooler_serves_every_job_and_no_loop_fails(
    tmp_path: Path, reused_database: ReusedDatabase
) -> None:
    server = make_url(reused_database.empty()).set(drivername="postgresql")
    with pgbouncer(server) as url:
        told = {
            "IMAGEQUEUE_DATABASE_URL": url.render_as_string(hide_password=False),
            "IMAGEQUEUE_DATABASE_POOLER": "transaction",
        }
        with LiveStack(tmp_path / "data", **told) as stack:
            answers = [stack.client.post(SUBMIT, json={"prompt": f"number {n}"}) for n in range(JOBS)]
            assert [answer.status_code for answer in answers] == [202] * JOBS
            assert set(stack.statuses([answer.json()["request_id"] for answer in answers])) == {"COMPLETED"}
    said = "".join(log.read_text("utf-8") for log in (tmp_path / "data" / "logs").glob("*.log"))
    assert said
    assert "loop_failed" not in said
    assert "database_away" not in said
