"""How long a list in Redis may be."""

from __future__ import annotations

from uuid import uuid4

import pytest

from chaos.evidence import Evidence
from chaos.invariants.lists import MOST_CALLS, no_list_in_redis_outgrows_its_work
from chaos.redis_lists import ListLength
from tests.chaos.runs import NOW, faultless, reread

CALLS = "generate.interactive"


def is_too_long(run: Evidence, name: str, length: int, at: float) -> bool:
    run.lists = [ListLength(at, name, length)]
    return bool(no_list_in_redis_outgrows_its_work(reread(run)).violations)


@pytest.mark.parametrize(
    ("at", "called", "allowed"),
    [
        (NOW - 3, True, 0),
        (NOW + 1, True, 1),
        (NOW + 5, True, 0),
        (NOW + 5, False, 1),
        (NOW + 63, False, 0),
    ],
)
def test_a_doorbell_waits_for_an_open_attempt_or_for_one_that_ended_unbegun(
    at: float, allowed: int, *, called: bool
) -> None:
    run = faultless()
    run.tables["attempts"][0]["called"] = NOW + 1 if called else None
    assert is_too_long(run, CALLS, allowed + 1, at)
    assert not is_too_long(run, CALLS, allowed, at)


def test_a_list_has_a_bound_however_much_is_open() -> None:
    run = faultless()
    run.tables["attempts"] += [run.tables["attempts"][0] | {"id": uuid4()} for _ in range(MOST_CALLS)]
    assert not is_too_long(run, CALLS, MOST_CALLS, NOW + 2)
    assert is_too_long(run, CALLS, MOST_CALLS + 1, NOW + 2)


def test_lists_that_were_never_looked_at_are_not_known_to_be_short() -> None:
    run = faultless()
    run.list_looks = 0
    assert no_list_in_redis_outgrows_its_work(reread(run)).violations


@pytest.mark.parametrize("name", ["celery", "deliveries"])
def test_a_list_that_is_no_queue_has_no_messages(name: str) -> None:
    assert is_too_long(faultless(), name, 1, NOW + 1)
