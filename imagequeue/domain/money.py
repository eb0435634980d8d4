"""Amounts of USD as text: plain decimals, never floats, never an exponent.

Source: docs/design/contract.md, "Amounts".
"""

from __future__ import annotations

from decimal import Decimal


def plain(amount: Decimal) -> str:
    """`0.039` for 0.039000000, `12` for 12.000000000."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
