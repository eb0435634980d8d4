"""Webhooks to a receiver on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.routing import Route

from tests.lifecycle.deliver.receiving import Receiver, Webhooks
from tests.pipeline import RunningPipeline
from tests.servers import ServerThread


@pytest.fixture
def webhooks(engine: Engine, database_url: str, tmp_path: Path) -> Iterator[Webhooks]:
    """A pipeline, a receiver, and the delivering between them."""
    receiver = Receiver()
    with ServerThread(Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])) as server:
        allow = server.url.removeprefix("http://")
        with RunningPipeline(engine, database_url, tmp_path, allow=allow) as running:
            yield Webhooks(running, receiver, server.url)
