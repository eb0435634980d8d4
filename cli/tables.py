"""Tables for people: what tells rows apart is never cut.

Cells may hold what strangers sent. A terminal obeys control characters, so those are replaced.

A terminal that is too narrow for every column shows the more important ones whole, and says which were left
out. A pipe has no width, so it gets everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.output import console

_PADDING, _BORDER = 2, 1
_NARROWEST_PROSE = 16
"""Characters of a column of sentences below which nobody can read it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. Where the terminal is too narrow, the column with the highest `rank` is left out first.

    One with the rank 0 is never left out: it tells rows apart. `prose` may take several lines in its cell.
    """

    heading: str
    rank: int = 0
    prose: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows that have a cell for each of the columns."""
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = {
        column: max(cell_len(text) for text in (column.heading, *[row[number] for row in cells]))
        for number, column in enumerate(columns)
    }
    if not console.is_terminal:
        wide = Console(file=console.file, width=max(console.width, _total(widths.values())))
        wide.print(_table(columns, columns, cells, widths))
        return
    shown = _shown(columns, widths)
    console.print(_table(columns, shown, cells, widths))
    if left_out := [column.heading for column in columns if column not in shown]:
        console.print(f"Left out: {', '.join(left_out)}. A wider terminal shows them, and so does a pipe.")


def _shown(columns: Sequence[Column], widths: dict[Column, int]) -> list[Column]:
    """The columns that fit, in their order; those with the rank 0 also where they do not."""
    shown = list(columns)
    while _total(_least(column, widths) for column in shown) > console.width:
        least = max(shown, key=lambda column: column.rank)
        if least.rank == 0:
            break
        shown.remove(least)
    return shown


def _table(
    columns: Sequence[Column], shown: Sequence[Column], rows: list[list[str]], widths: dict[Column, int]
) -> Table:
    table = Table()
    fits = _total(_least(column, widths) for column in shown) <= console.width or not console.is_terminal
    for column in shown:
        width = _least(column, widths) if fits else None
        table.add_column(Text(column.heading), overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*[Text(cell) for column, cell in zip(columns, row, strict=True) if column in shown])
    return table


def _least(column: Column, widths: dict[Column, int]) -> int:
    return min(widths[column], _NARROWEST_PROSE) if column.prose else widths[column]


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _total(widths: Iterable[int]) -> int:
    every = list(widths)
    return sum(every) + len(every) * (_PADDING + _BORDER) + _BORDER
