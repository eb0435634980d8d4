"""Results behind links: tried again while the call's deadline leaves time, and no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from random import Random

import pytest

from imagequeue.domain.backoff import IMAGE_DOWNLOAD
from imagequeue.domain.upstream import Ambiguous
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.policy import EgressPolicy
from imagequeue.lifecycle.generate.download import Downloading
from tests.origin import Origin


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as served:
        yield served


@pytest.fixture
def downloading(origin: Origin) -> Downloading:
    policy = EgressPolicy.parse(allow=origin.place)
    return Downloading(GuardedClient(policy, user_agent="test"), policy, threading.Event(), Random(1))  # noqa: S311  # no secret


def test_a_server_that_hangs_is_asked_once_when_that_takes_all_the_time(
    origin: Origin, downloading: Downloading
) -> None:
    with pytest.raises(Ambiguous, match="timeout"):
        downloading.run(f"{origin.url}/held.png", time.monotonic() + 1)
    assert origin.requests["/held.png"] == 1


def test_while_there_is_time_a_broken_download_is_tried_again(
    origin: Origin, downloading: Downloading
) -> None:
    origin.statuses.extend([503] * (IMAGE_DOWNLOAD.tries - 1))
    with downloading.run(f"{origin.url}/image.png", time.monotonic() + 60) as download:
        assert download.file.read() == origin.bodies["/image.png"]
    assert origin.requests["/image.png"] == IMAGE_DOWNLOAD.tries
