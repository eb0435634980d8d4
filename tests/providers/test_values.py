"""Amounts of money in answers: what is read as one, and what is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from imagequeue.providers.values import usd


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("0.039000", "0.039"),
        (3, "3"),
        (Decimal("0.0626835"), "0.0626835"),
        (True, None),
        (-1, None),
        ("-0.01", None),
        (1_000_000, "1000000"),
        (1_000_001, None),
        (10**9, None),
        ("999999999.9999999999", None),  # what rounds to more digits than the column has
        (Decimal("1e400"), None),
        ("NaN", None),
        ("Infinity", None),
        ("1e-20000", None),
        ("0" * 101, None),
        ("free", None),
        (None, None),
        ([], None),
    ],
)
def test_costs(value: Any, amount: str | None) -> None:
    assert usd(value) == (None if amount is None else Decimal(amount))
