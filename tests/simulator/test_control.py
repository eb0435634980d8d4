"""The control routes: for those who test, and not for whoever has the service send something there."""

from __future__ import annotations

import httpx

from imagequeue import __version__
from imagequeue.egress.client import GuardedClient
from imagequeue.egress.policy import EgressPolicy
from tests.servers import SimulatorThread

FAULT = b'{"kind": "status", "status": 500}'
JSON = {"Content-Type": "application/json"}


def test_a_webhook_or_a_fetch_of_the_service_controls_nothing(simulator: SimulatorThread) -> None:
    """The stack allows its service to reach the simulator, and a client chooses the path."""
    policy = EgressPolicy.parse(allow=f"127.0.0.1:{simulator.port}")
    service = GuardedClient(policy, user_agent=f"imagequeue/{__version__}")
    for path in ("faults", "reset"):
        destination = service.destination(f"{simulator.url}/_sim/{path}")
        answer = service.post(destination, FAULT, JSON)
        assert answer.status == 403
    assert service.download(service.destination(f"{simulator.url}/_sim/log"), max_bytes=1000).status == 403
    assert simulator.state.faults.all() == []


def test_who_tests_controls_it(simulator: SimulatorThread) -> None:
    assert httpx.post(f"{simulator.url}/_sim/faults", content=FAULT, headers=JSON).status_code == 201
    assert len(simulator.state.faults.all()) == 1
