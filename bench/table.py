"""The lines of the table, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Line:
    """One measured value. `holds`: whether it meets the target; None if there is no target."""

    row: str
    what: str
    value: str
    target: str = ""
    holds: bool | None = None


def show(lines: Sequence[Line]) -> None:
    """Print all lines as one table."""
    table = Table("row", "what", "value", "target", "")
    for line in lines:
        mark = {True: "ok", False: "MISSED", None: ""}[line.holds]
        table.add_row(line.row, line.what, line.value, line.target, mark)
    Console().print(table)
