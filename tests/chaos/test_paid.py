"""Which losses of paid images have a reason, and which have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chaos.evidence import Evidence
from chaos.faults import Fault
from chaos.invariants.paid import what_was_paid_is_stored_or_its_loss_explained
from tests.chaos.runs import NOW, WORKER_PID, call_at_east, faultless, reread

FAILED: dict[str, Any] = {"state": "UNAVAILABLE", "reason": "the answer holds no image"}


def bought_twice(run: Evidence, fault: str | None, lost: dict[str, Any]) -> None:
    """Another call was billed, and its attempt has these values."""
    run.calls.append(call_at_east(0, fault=fault))
    run.tables["attempts"].append(run.tables["attempts"][0] | {"id": uuid4()} | lost)


LOSSES: dict[str, tuple[Callable[[Evidence], object], bool]] = {
    "a spoiled answer": (lambda run: bought_twice(run, "not_an_image", FAILED), True),
    "an answer that breaks off": (lambda run: bought_twice(run, "reset", FAILED), True),
    "a spoiled answer without a reason": (
        lambda run: bought_twice(run, "not_an_image", FAILED | {"reason": None}),
        False,
    ),
    "a whole answer": (lambda run: bought_twice(run, None, FAILED), False),
    "a compressed answer": (lambda run: bought_twice(run, "compressed", FAILED), False),
    "a redirected link": (lambda run: bought_twice(run, "redirected_links", FAILED), False),
    "the process died": (lambda run: bought_twice(run, None, FAILED | {"process_died": True}), True),
    "the job ended while it slept": (lambda run: bought_twice(run, None, {"state": "LOST"}), True),
    "it ran until its deadline": (
        lambda run: bought_twice(run, None, FAILED | {"finished": NOW + 15.5}),
        True,
    ),
    "its process was stopped": (
        lambda run: (
            bought_twice(run, None, FAILED),
            run.faults.append(Fault("SIGSTOP, then SIGCONT", "a worker", WORKER_PID, NOW + 1.5, NOW + 9)),
        ),
        True,
    ),
    "its process was stopped later": (
        lambda run: (
            bought_twice(run, None, FAILED),
            run.faults.append(Fault("SIGSTOP, then SIGCONT", "a worker", WORKER_PID, NOW + 3, NOW + 9)),
        ),
        False,
    ),
    "an attempt that is not on record": (lambda run: run.calls.append(call_at_east(0)), False),
    "fewer images than were billed": (lambda run: run.calls[0].update(billed_images=2), False),
    "fewer images than were billed, when time was up": (
        lambda run: (
            run.calls[0].update(billed_images=2),
            run.tables["attempts"][0].update(finished=NOW + 15.5),
        ),
        True,
    ),
    "one raw image for two": (lambda run: run.calls[0].update(billed_images=2, fault="raw_image"), True),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_paid_image_is_lost_only_for_a_reason_that_the_rules_know(loss: str) -> None:
    happened, is_explained = LOSSES[loss]
    run = faultless()
    happened(run)
    finding = what_was_paid_is_stored_or_its_loss_explained(reread(run))
    assert bool(finding.violations) is not is_explained
