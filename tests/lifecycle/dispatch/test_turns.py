"""Whose jobs go next, over all deployments of a model."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from tests import fleet
from tests.builders import account


def test_equal_accounts_get_equal_shares_of_a_model_that_five_small_quotas_serve(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    given = {f"upstream-{number}": {"rpm": 12, "pace": False} for number in range(5)}
    with fleet.pipeline(engine, database_url, tmp_path, given) as small:
        for number in range(20):
            small.account_id, _ = account(engine, f"account {number}", "1000")
            small.submit(6)
        while small.dispatch.run_once():
            pass
        shares = small.rows("""
            SELECT count(*)::int AS calls FROM attempts JOIN jobs ON jobs.id = job_id GROUP BY account_id
        """)
        assert [row.calls for row in shares] == [3] * 20
