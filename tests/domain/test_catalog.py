"""Models and deployments: defaults, amounts, and which models there are."""

from __future__ import annotations

from decimal import Decimal

import pytest

from imagequeue.domain.errors import UnknownModel
from imagequeue.domain.images import Operation
from tests.domain.catalogs import MODEL, deployment_with, model_with, parsed


def test_what_is_not_given_has_the_contracts_default() -> None:
    made = deployment_with()
    assert (made.auth, made.cold_start, made.max_attempts, made.max_in_flight) == ("key", "spent", 6, None)
    assert (made.group, made.order, made.spill_after_seconds, made.window_seconds) == ("east", 1, 5, 60)
    assert (made.pace, made.guard_ms, made.timeout_seconds, made.retry_ambiguous) == (True, 400, 180, True)
    assert made.cost_usd is None
    assert (made.most_pixels, made.shortest_side, made.refused_fields) == (None, None, ())
    assert (made.api, made.modalities) == ("chat", ("image", "text"))
    assert model_with().operations == ("generate",)


@pytest.mark.parametrize("given", [1, 0.5, 60, 2.0])
def test_a_window_is_an_integer_or_a_float(given: float) -> None:
    assert deployment_with(window_seconds=given).window_seconds == given


@pytest.mark.parametrize(("given", "amount"), [("0.039", "0.039"), (0.039, "0.039"), (2, "2"), ("0", "0")])
def test_an_amount_is_a_string_or_a_number(given: object, amount: str) -> None:
    assert deployment_with(cost_usd=given).cost_usd == Decimal(amount)
    assert model_with(price_usd=given).price_usd == Decimal(amount)


def test_a_disabled_or_unknown_model_is_unknown() -> None:
    catalog = parsed(models=(MODEL | {"enabled": False},))
    for name in ("mai-image-2", "other"):
        with pytest.raises(UnknownModel):
            catalog.model(name)


def test_every_operation_can_be_named() -> None:
    every: tuple[Operation, ...] = ("generate", "edit")
    assert model_with(operations=list(every)).operations == every
