"""The process dies in the middle of a submit (docs/reliability.md, "Crash points")."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from tests.api.process import api_process
from tests.api.service import BODY, ROUTE
from tests.builders import account, count

pytestmark = pytest.mark.long

TABLES = ("jobs", "job_requests", "events", "idempotency_keys")


@pytest.mark.parametrize(
    ("point", "survives"), [("submit.before_commit", False), ("submit.after_commit", True)]
)
def test_a_repeat_with_the_same_key_makes_exactly_one_job(
    engine: Engine, database_url: str, tmp_path: Path, *, point: str, survives: bool
) -> None:
    _, issued = account(engine, "client")
    headers = {"api-key": issued.key, "Idempotency-Key": "once"}
    with api_process(database_url, tmp_path, IMAGEQUEUE_FAILPOINT=f"{point}:kill") as process:
        with pytest.raises(httpx.TransportError):
            httpx.post(process.url + ROUTE, json=BODY, headers=headers, timeout=120)
        assert process.end() == -signal.SIGKILL
    assert {count(engine, table) for table in TABLES} == {1 if survives else 0}
    with api_process(database_url, tmp_path) as process:
        answer = httpx.post(process.url + ROUTE, json=BODY, headers=headers, timeout=120)
        wallet = httpx.get(process.url + "/v2/wallet", headers=headers).json()
        assert process.terminate() == 0
    assert answer.status_code == 202
    assert answer.headers.get("Idempotent-Replayed") == ("true" if survives else None)
    assert count(engine, "jobs") == 1
    assert wallet["held"] == "0.039"
