"""Whose heartbeats are waited for."""

from cli.stack.readiness import beating_pids


def test_dispatcher_and_workers_beat() -> None:
    running = [("postgres", 1), ("dispatcher", 2), ("worker-deliveries-1", 3), ("api-1", 4)]
    assert beating_pids(running) == [2, 3]
