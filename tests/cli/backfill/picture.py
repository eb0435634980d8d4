"""The picture of docs/backfills.md: `python -m tests.cli.backfill.picture` draws it by the panel itself."""

from __future__ import annotations

import io
import re
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from cli.backfill.panel import Panel
from tests.e2e.live import ROOT

PICTURE = ROOT / "docs" / "backfill.svg"
WIDTH = 100

BATCH: dict[str, Any] = {
    "id": "batch_019d0a4cf5a87b0093b6d1f6f0e7a2c4",
    "status": "in_progress",
    "reasons": [],
    "counts": {
        "total": 12_000, "waiting": 7_400, "queued": 130, "completed": 4_412, "failed": 58, "unknown": 0,
        "cancelled": 0, "expired": 0, "skipped": 0,
    },
    "running": 22,
    "speed": {"last_minute": 23, "last_fifteen_minutes": 23.6, "quota": 24.0},
    "eta_seconds": 18_900,
    "why_not_faster": [
        "Quota group eastus allows 12 calls a minute",
        "Quota group westus allows 12 calls a minute",
    ],
    "spent_usd": "172.068",
    "held_usd": "5.07",
    "budget_usd": "500",
    "estimate_usd": "468",
}  # fmt: skip
ERRORS = [{"code": "refused", "count": 55}, {"code": "not_served", "count": 3}]


def drawn() -> str:
    """The panel as SVG, with the fonts of whoever looks at it."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True)
    console.print(Panel("prompts.csv", BATCH, ERRORS, images=4_412, bytes=6_970_000_000))
    without_fonts = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="imagequeue backfill", unique_id="backfill", code_format=without_fonts)


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
