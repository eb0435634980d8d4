"""Redis emptied in the middle of 200 jobs: nothing is lost, nothing doubled, and it goes on (issue 3)."""

from __future__ import annotations

import json
import threading
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.e2e.live import LiveStack
from tests.servers import ServerThread

pytestmark = pytest.mark.long

PRICE = Decimal("0.039")
JOBS = 200
RECOVERY_SECONDS = 30


@pytest.mark.timeout(150)
def test_an_emptied_redis_costs_half_a_minute_and_no_job(tmp_path: Path) -> None:
    ids = list[str]()
    told = threading.Event()

    async def take(request: Request) -> Response:
        ids.append(request.headers["webhook-id"])
        if len(set(ids)) == JOBS:
            told.set()
        return Response()

    with ServerThread(Starlette(routes=[Route("/{path}", take, methods=["POST"])])) as receiver:
        allow = urlsplit(receiver.url).netloc
        with LiveStack(tmp_path / "data", IMAGEQUEUE_EGRESS_ALLOW=allow) as stack:
            stack.client.headers["X-Webhook-URL"] = f"{receiver.url}/hook"
            submitted = stack.submit(JOBS)
            emptied = time.time()
            file = json.loads((tmp_path / "data" / "stack.json").read_text())
            with Redis.from_url(file["redis_url"]) as redis:  # pyright: ignore[reportUnknownMemberType]
                redis.flushall()  # pyright: ignore[reportUnknownMemberType]
            assert set(stack.statuses(submitted)) == {"COMPLETED"}
            with psycopg.connect(file["database_url"]) as connection:
                late = connection.execute(
                    "SELECT count(*) FROM attempts WHERE created_at < to_timestamp(%(emptied)s)"
                    " AND called_at > to_timestamp(%(emptied)s + %(seconds)s)",
                    {"emptied": emptied, "seconds": RECOVERY_SECONDS},
                ).fetchone()
                calls = connection.execute(
                    "SELECT count(*) FROM attempts WHERE state NOT IN ('SUCCEEDED', 'GIVEN_BACK')"
                ).fetchone()
            assert (late, calls) == ((0,), (0,))
            assert Decimal(stack.wallet()["spent"]) == JOBS * PRICE
            assert told.wait(30)
    assert len(set(ids)) == JOBS
