"""Read JSON that cannot be trusted: a value that is missing or of another type is empty, or None."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, cast

BELIEVED_USD = Decimal(1_000_000)
"""The most that one call can cost. A larger amount is an error, and from 1e9 on no column takes it."""


_SMALLEST_USD = Decimal("1e-9")
"""USD: the last digit of the columns that hold amounts, which are NUMERIC(18, 9)."""
_AMOUNT_LENGTH = 100
"""Characters of an amount in a string. A longer one is not an amount, and costs time to read."""


def usd(value: Any) -> Decimal | None:
    """The amount that an upstream says it charged: a number or a decimal string; None for anything else.

    It has at most nine decimals. An amount below 0, above `BELIEVED_USD`, or so small that nothing of it is
    left is None too: the images are usable without it.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    if isinstance(value, str) and len(value) > _AMOUNT_LENGTH:
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= BELIEVED_USD:
        return None
    rounded = amount.quantize(_SMALLEST_USD)
    return rounded if rounded or not amount else None


def value_at(body: Any, path: Sequence[str]) -> Any:
    """The value at a path of keys, such as `("usage", "cost")`; None where there is none."""
    for key in path:
        body = mapping(body).get(key)
    return body


def mapping(value: Any) -> dict[str, Any]:
    """The JSON object, or an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The JSON array, or an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []
