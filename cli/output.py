"""Where commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console

console = Console()
"""For people: tables and sentences."""

notices = Console(stderr=True)
"""For people, beside the results: progress."""


def print_json(value: Any) -> None:
    """Print for programs: one JSON text on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))
