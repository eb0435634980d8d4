"""Batches and errors as the commands print them: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from cli.backfill.panel import counted, eta, money, speed, standing
from cli.output import print_json
from cli.tables import Column, print_table

Body = Mapping[str, Any]

_BATCHES = (
    Column("batch"),
    Column("state", rank=1),
    Column("done", rank=2),
    Column("failed", rank=3),
    Column("lines", rank=4),
    Column("USD", rank=5),
    Column("created", rank=6),
)
_ERRORS = (
    Column("code"),
    Column("lines", rank=1),
    Column("first line", rank=3),
    Column("message", rank=2, prose=True),
    Column("ids", rank=4, prose=True),
)


def print_batch(batch: Body, *, as_json: bool) -> None:
    """Print how far a batch is."""
    if as_json:
        print_json(batch)
        return
    typer.echo(f"{batch['id']}  {standing(batch)}")
    rows = [
        ("lines", counted(batch)),
        ("speed", speed(batch)),
        ("ETA", eta(batch)),
        ("USD", money(batch)),
    ]
    for name, text in [*rows, *(("why not faster", why) for why in batch["why_not_faster"])]:
        typer.echo(f"  {name}: {text}")


def print_batches(batches: Sequence[Body], *, as_json: bool) -> None:
    """Print a row for each batch."""
    if as_json:
        print_json(list(batches))
        return
    print_table(_BATCHES, [_row(batch) for batch in batches])


def print_errors(errors: Sequence[Body], *, as_json: bool) -> None:
    """Print a row for each code."""
    if as_json:
        print_json(list(errors))
        return
    rows = [
        (
            one["code"],
            str(one["count"]),
            str(one["first_line"]),
            one["message"] or "",
            ", ".join(one["custom_ids"]),
        )
        for one in errors
    ]
    print_table(_ERRORS, rows)


def _row(batch: Body) -> tuple[str, ...]:
    counts = batch["counts"]
    done = counts["completed"] + counts["skipped"]
    told = (done, counts["failed"], counts["total"], batch["spent_usd"], batch["created_at"])
    return (batch["id"], standing(batch), *map(str, told))
