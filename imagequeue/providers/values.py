"""Reading JSON of which nothing can be trusted: what is not there, or of another type, cannot be used."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, cast


def usd(value: Any) -> Decimal | None:
    """An amount that an upstream says it charged, a number or a decimal string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


def mapping(value: Any) -> dict[str, Any]:
    """The JSON object, or an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The JSON array, or an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []
