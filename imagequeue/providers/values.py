"""Read JSON that cannot be trusted: a value that is missing or of another type is empty, or None."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, cast

BELIEVED_USD = Decimal(1_000_000)
"""The most that one call can cost. A larger amount is an error, and from 1e9 on no column takes it."""


def usd(value: Any) -> Decimal | None:
    """The amount that an upstream says it charged: a number or a decimal string; None for anything else.

    An amount below 0 or above `BELIEVED_USD` is None too: the images are usable without it.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= BELIEVED_USD else None


def mapping(value: Any) -> dict[str, Any]:
    """The JSON object, or an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The JSON array, or an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []
