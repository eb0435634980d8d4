"""What a person sees of a batch: a panel, and the same in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.panel import Panel as Frame
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imagequeue.domain.batches import ENDED_BATCHES

MOST_ERRORS = 4
"""Codes of errors that are shown, the most frequent first; `backfill errors` has them all."""

_COLOURS = {"in_progress": "green", "completed": "green", "paused": "yellow", "validating": "cyan"}


@dataclass
class Panel:
    """A batch in a frame. `images` and `bytes` were downloaded since the program began."""

    title: str
    batch: Mapping[str, Any] | None = None
    errors: Sequence[Mapping[str, Any]] = ()
    images: int = 0
    bytes: int = 0

    def __rich__(self) -> RenderableType:
        """The frame, drawn anew at each look."""
        if self.batch is None:
            return Text("waiting for the server")
        batch = self.batch
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(ratio=1)
        for name, text in self._rows(batch):
            rows.add_row(name, Text(text))
        colour = _COLOURS.get(batch["status"], "red")
        title = Text.assemble((self.title, "bold"), "  ", (standing(batch), colour))
        shown = Group(_bar(batch), Text(""), rows)
        return Frame(
            shown, title=title, title_align="left", subtitle=Text(batch["id"], "dim"), box=box.ROUNDED
        )

    def _rows(self, batch: Mapping[str, Any]) -> list[tuple[str, str]]:
        rows = [
            ("lines", counted(batch)),
            ("speed", speed(batch)),
            ("ETA", eta(batch)),
            ("USD", money(batch)),
            ("images", f"{self.images:,} downloaded now, {decimal(self.bytes)}"),
        ]
        if self.errors:
            rows.append(("errors", _errors(self.errors)))
        if why := batch["why_not_faster"]:
            rows.append(("why not faster", "\n".join(why)))
        return rows


def one_line(batch: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> str:
    """The same without a terminal."""
    parts = [
        standing(batch),
        counted(batch),
        speed(batch),
        f"ETA {eta(batch)}",
        f"USD {money(batch)}",
    ]
    if errors:
        parts.append(f"errors: {_errors(errors)}")
    return "; ".join(parts)


def standing(batch: Mapping[str, Any]) -> str:
    """The state, with the reasons of a pause; how much of the file is checked before it runs."""
    if batch["status"] == "validating":
        part = batch["parts"][0]
        share = part["bytes_validated"] / part["bytes"] if part["bytes"] else 0
        return f"validating: {share:.0%} of the file, {part['lines']:,} lines"
    words = batch["status"].replace("_", " ")
    reasons = ", ".join(reason.replace("_", " ") for reason in batch["reasons"])
    return f"{words} ({reasons})" if reasons else words


def counted(batch: Mapping[str, Any]) -> str:
    """Lines by what became of them; those that have a call are not among those that wait."""
    counts, running = batch["counts"], batch["running"]
    told = {
        "done": counts["completed"],
        "failed": counts["failed"],
        "running": running,
        "waiting": counts["waiting"] + counts["queued"] - running,
    }
    told |= {name: counts[name] for name in ("skipped", "unknown", "cancelled", "expired") if counts[name]}
    return ", ".join(f"{count:,} {name}" for name, count in told.items())


def speed(batch: Mapping[str, Any]) -> str:
    """Jobs a minute against what the quotas allow."""
    told = batch["speed"]
    return (
        f"{told['last_minute']:,}/min ({told['last_fifteen_minutes']:,.4g}/min over 15 min),"
        f" the quota allows {told['quota']:,.4g}/min"
    )


def money(batch: Mapping[str, Any]) -> str:
    """What was spent and is held, against estimate and budget."""
    budget = "no budget" if batch["budget_usd"] is None else f"budget {batch['budget_usd']}"
    return f"{batch['spent_usd']} spent, {batch['held_usd']} held; estimate {batch['estimate_usd']}, {budget}"


def eta(batch: Mapping[str, Any]) -> str:
    """How long it will still take."""
    if batch["eta_seconds"] is None:
        return "it has ended" if batch["status"] in ENDED_BATCHES else "unknown"
    return duration(batch["eta_seconds"])


def duration(seconds: int) -> str:
    """Seconds as a person says them."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def _bar(batch: Mapping[str, Any]) -> RenderableType:
    counts = batch["counts"]
    ended = counts["total"] - counts["waiting"] - counts["queued"]
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    share = f"{ended / counts['total']:.1%}" if counts["total"] else ""
    bar = ProgressBar(total=max(counts["total"], 1), completed=ended)
    row.add_row(bar, Text(f"{ended:,} / {counts['total']:,}  {share}"))
    return row


def _errors(errors: Sequence[Mapping[str, Any]]) -> str:
    shown = [f"{one['count']:,} {one['code']}" for one in errors[:MOST_ERRORS]]
    more = ["more"] if len(errors) > MOST_ERRORS else []
    return ", ".join(shown + more)
