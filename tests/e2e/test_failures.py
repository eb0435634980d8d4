"""Kill any child, stop and start the stack: no job is lost, none is charged twice (issue 2)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from tests.e2e.live import LiveStack

pytestmark = pytest.mark.long

PRICE = Decimal("0.039")


@pytest.mark.timeout(240)
def test_whichever_child_is_killed_every_job_completes_and_is_charged_once(tmp_path: Path) -> None:
    names = ("api", "dispatcher", "worker-generate-interactive", "worker-deliveries", "redis", "postgres")
    with LiveStack(tmp_path / "data") as stack:
        submitted = stack.submit(50)
        for name in (*names, "simulator"):
            stack.kill(name)
            submitted += stack.submit(5)
        assert set(stack.statuses(submitted)) == {"COMPLETED"}
        wallet = stack.wallet()
        assert Decimal(wallet["spent"]) == len(submitted) * PRICE
        assert (Decimal(wallet["held"]), Decimal(wallet["available"])) == (0, 100 - len(submitted) * PRICE)


@pytest.mark.timeout(120)
def test_a_stack_that_is_stopped_in_the_middle_finishes_at_its_next_start(tmp_path: Path) -> None:
    with LiveStack(tmp_path / "data") as stack:
        submitted = stack.submit(50)
        stack.stop()
        stack.start()
        assert set(stack.statuses(submitted)) == {"COMPLETED"}
        assert Decimal(stack.wallet()["spent"]) == 50 * PRICE


@pytest.mark.timeout(120)
def test_a_killed_supervisor_leaves_no_process_behind_and_the_next_start_finishes(tmp_path: Path) -> None:
    with LiveStack(tmp_path / "data") as stack:
        submitted = stack.submit(50)
        children = stack.children()
        stack.kill_supervisor()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive
        stack.start()
        assert set(stack.statuses(submitted)) == {"COMPLETED"}
        assert Decimal(stack.wallet()["spent"]) == 50 * PRICE
