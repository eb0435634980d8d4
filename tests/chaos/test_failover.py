"""When a job may be ERROR although other deployments did well, and when it may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chaos.evidence import Evidence
from chaos.invariants.failover import no_job_is_error_beside_an_idle_deployment
from chaos.upstreams import DEPLOYMENTS, MAX_ATTEMPTS, RPM
from chaos.weather import Spell
from tests.chaos.runs import JOB, NOW, call_at_east, fail, faultless, reread, stamp_at

END = NOW + 40
OTHERS = DEPLOYMENTS - {"east"}


def used_up_but_east() -> Evidence:
    """A job that ended as ERROR when all deployments but one had failed it as often as they may."""
    run = faultless()
    run.jobs[0] |= {"status": "ERROR", "finished": END}
    run.tables["attempts"][0] |= {"state": "UNAVAILABLE", "finished": NOW + 2}
    fail(run, MAX_ATTEMPTS + 1, at=OTHERS)
    return run


def line(event: str, second: float, **more: Any) -> dict[str, Any]:
    return {"event": event, "quota_group": "east", "timestamp": stamp_at(second)} | more


def busy(run: Evidence, calls: int) -> None:
    run.tables["attempts"] += [
        run.tables["attempts"][0] | {"id": uuid4(), "job_id": uuid4(), "created": END - 20}
        for _ in range(calls)
    ]


def spell(began: float, ended: float, word: str | None = None) -> Spell:
    return Spell("outage", frozenset({"east"}), began, ended, word)


EXCUSES: dict[str, tuple[Callable[[Evidence], object], bool]] = {
    "nothing": (lambda _: None, False),
    "an outage that was over": (lambda run: run.spells.append(spell(NOW, END - 6)), False),
    "an outage": (lambda run: run.spells.append(spell(NOW, END - 4)), True),
    "a firewall for another prompt": (lambda run: run.spells.append(spell(NOW, END, "owl")), False),
    "a firewall for this prompt": (lambda run: run.spells.append(spell(NOW, END, "job")), True),
    "a call that met a fault": (
        lambda run: run.calls.append(call_at_east(7, fault="reset", wall_time=stamp_at(END - 1))),
        True,
    ),
    "a call that met one before": (
        lambda run: run.calls.append(call_at_east(7, fault="reset", wall_time=stamp_at(END - 6))),
        False,
    ),
    "a full quota": (lambda run: busy(run, RPM["east"]), True),
    "a quota with a token left": (lambda run: busy(run, RPM["east"] - 2), False),
    "a quota that a drift has lowered": (
        lambda run: (busy(run, 192), run.logged.append(line("quota_drift", NOW, effective_rpm=192))),
        True,
    ),
    "a pause": (lambda run: run.logged.append(line("throttled", END - 8, seconds=4.0)), True),
    "a pause that was over": (lambda run: run.logged.append(line("throttled", END - 8, seconds=2.0)), False),
    "as many failures as it may have": (lambda run: fail(run, MAX_ATTEMPTS), True),
    "one failure less than once more": (lambda run: fail(run, MAX_ATTEMPTS - 1), False),
    "one failure less, the last just now": (
        lambda run: (
            fail(run, MAX_ATTEMPTS - 1),
            run.tables["attempts"][-1].update(finished=END - 1),
        ),
        True,
    ),
}


@pytest.mark.parametrize("excuse", EXCUSES)
def test_a_job_may_be_an_error_only_if_no_deployment_was_healthy_and_idle(excuse: str) -> None:
    happened, excuses = EXCUSES[excuse]
    run = used_up_but_east()
    happened(run)
    finding = no_job_is_error_beside_an_idle_deployment(reread(run))
    assert [str(JOB) in violation for violation in finding.violations] == ([] if excuses else [True])
