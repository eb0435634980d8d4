"""How far a batch is: a panel at a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cli.backfill.images import SavedImage
from cli.backfill.panel import Panel, one_line

LINE_SECONDS = 10.0
"""Between two plain lines that differ only in numbers: a log of a week stays readable."""


class BackfillDisplay:
    """Shows an upload, then a batch, on `console`."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._panel = Panel(title)
        self._printed: tuple[str, float] = ("", float("-inf"))

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def upload(self, size: int) -> Generator[Callable[[int], None]]:
        """Show a bar of so many bytes; what is given counts the bytes that were sent."""
        columns = (TextColumn("uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        terminal = self._console.is_terminal
        with Progress(
            *columns, TimeRemainingColumn(), console=self._console, transient=True, disable=not terminal
        ) as progress:
            task = progress.add_task("", total=size)
            yield lambda count: progress.advance(task, count)
        self.say(f"uploaded {size:,} bytes")

    @contextmanager
    def following(self) -> Generator[None]:
        """Show the batch while the context is open; its last look stays on the screen."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._panel, console=self._console, refresh_per_second=4):
            yield

    def show(self, batch: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> None:
        """Show where the batch stands."""
        self._panel.batch, self._panel.errors = batch, errors
        if self._console.is_terminal:
            return
        state, printed_at = self._printed
        standing = f"{batch['status']} {batch['reasons']}"
        now = time.monotonic()
        if standing != state or now - printed_at >= LINE_SECONDS:
            self._printed = (standing, now)
            self.say(one_line(batch, errors))

    def downloaded(self, saved: Sequence[SavedImage]) -> None:
        """Count images that are here now."""
        self._panel.images += sum(one.file is not None for one in saved)
        self._panel.bytes += sum(one.downloaded_bytes for one in saved)
