"""What the user sees while the demo runs: a line for each event, and a bar if there is a terminal."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table

from cli.demo.result import Result

HEADINGS = ("image", "size", "served by", "s", "told by")


@dataclass
class Display:
    """Prints to `console`; without a terminal the bar is left out and the lines remain."""

    console: Console
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print one line, with the seconds since the demo began."""
        line = f"{time.monotonic() - self.started:5.1f} s  {text}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, total: int) -> Generator[Bar]:
        """Show a bar of `total` jobs below the lines, while the context is open."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns,
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        ) as progress:
            yield Bar(progress, total)

    def table(self, results: Sequence[Result]) -> None:
        """Print a table with a row for each image."""
        columns = [Column(heading, overflow="fold") for heading in HEADINGS]  # names of images stay whole
        table = Table(*columns, box=None, padding=(0, 2, 0, 0))
        for result in results:
            for cells in result.rows():
                table.add_row(*cells)
        self.console.print(table)


class Bar:
    """Shows how many jobs are final."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("jobs", total=total)

    def advance(self) -> None:
        """Count one more job as final."""
        self._progress.advance(self._task)
