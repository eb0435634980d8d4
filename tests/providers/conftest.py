"""The clients that send."""

from __future__ import annotations

from collections.abc import Generator

import httpx
import pytest

from imagequeue.egress import deadline_transport


@pytest.fixture(scope="module", params=["with deadlines", "plain"])
def client(request: pytest.FixtureRequest) -> Generator[httpx.Client]:
    """The client that workers use, and one of httpx alone: the sender keeps its promises with both."""
    transport = deadline_transport() if request.param == "with deadlines" else None
    with httpx.Client(transport=transport, trust_env=False) as made:
        yield made
