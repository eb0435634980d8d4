"""Kill any child, stop and start the stack: no job is lost, none is charged twice."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal

import psutil
import pytest

from tests.e2e.live import LiveStack

pytestmark = pytest.mark.long

PRICE = Decimal("0.039")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack that the tests take from each other running, and leave so."""
    with LiveStack(tmp_path_factory.mktemp("failures") / "data") as running:
        yield running


@contextmanager
def paid_once(stack: LiveStack, jobs: list[str]) -> Generator[None]:
    """What is submitted meanwhile, and noted in `jobs`, is charged once when it has ended."""
    spent = Decimal(stack.wallet()["spent"])
    yield
    stack.statuses(jobs)  # waits for the end of each
    wallet = {name: Decimal(stack.wallet()[name]) for name in ("available", "held", "spent")}
    assert wallet["spent"] - spent == len(jobs) * PRICE
    assert (wallet["held"], wallet["available"] + wallet["spent"]) == (0, 100)


def test_whichever_child_is_killed_every_job_completes_and_is_charged_once(stack: LiveStack) -> None:
    names = ("api", "dispatcher", "worker-generate-interactive", "worker-deliveries", "redis", "postgres")
    jobs = list[str]()
    with paid_once(stack, jobs):
        jobs += stack.submit(50)
        for name in (*names, "simulator"):
            stack.kill(name)
            jobs += stack.submit(5)
    assert stack.statuses(jobs) == ["COMPLETED"] * len(jobs)


def test_a_stack_that_is_stopped_in_the_middle_finishes_at_its_next_start(stack: LiveStack) -> None:
    jobs = list[str]()
    with paid_once(stack, jobs):
        jobs += stack.submit(50)
        stack.stop()
        stack.start()
    assert stack.statuses(jobs) == ["COMPLETED"] * 50


def test_a_killed_supervisor_leaves_no_process_behind_and_the_next_start_finishes(stack: LiveStack) -> None:
    jobs = list[str]()
    with paid_once(stack, jobs):
        jobs += stack.submit(50)
        children = stack.children()
        stack.kill_supervisor()
        _, alive = psutil.wait_procs(children, timeout=120)
        assert not alive
        stack.start()
    assert stack.statuses(jobs) == ["COMPLETED"] * 50
