"""What a person sees of a batch."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from rich.console import Console

from cli.backfill.display import BackfillDisplay
from cli.backfill.panel import duration
from imagequeue.domain.batches import ENDED_BATCHES
from tests.cli.backfill.picture import BATCH, ERRORS, PICTURE, drawn


def shown(batch: Mapping[str, object], *, terminal: bool) -> str:
    """What a look at a batch prints."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=110, color_system=None)
    display = BackfillDisplay(console, "prompts.csv")
    with display.following():
        display.show(batch, ERRORS)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_picture_of_the_page_is_what_the_panel_draws() -> None:
    """`python -m tests.cli.backfill.picture` draws it again."""
    assert PICTURE.read_text(encoding="utf-8") == drawn()


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_speed_money_errors_and_time_are_told(*, terminal: bool) -> None:
    told = shown(BATCH, terminal=terminal)
    for part in (
        "in progress",
        "4,412 done, 58 failed, 22 running, 7,508 waiting",
        "23/min (23.6/min over 15 min), the quota allows 24/min",
        "5 h 15 min",
        "172.068 spent, 5.07 held; estimate 468, budget 500",
        "55 refused, 3 not_served",
    ):
        assert part in told


def test_the_panel_says_why_it_is_not_faster() -> None:
    assert "Quota group westus allows 12 calls a minute" in shown(BATCH, terminal=True)


def test_without_a_terminal_a_look_is_one_line() -> None:
    told = shown(BATCH, terminal=False)
    assert (told.count("\n"), "\x1b" in told) == (1, False)


def test_a_batch_that_is_checked_says_how_far() -> None:
    part = {"bytes": 200, "bytes_validated": 50, "lines": 7}
    told = shown({**BATCH, "status": "validating", "parts": [part]}, terminal=False)
    assert "validating: 25% of the file, 7 lines" in told


def test_a_pause_says_its_reasons() -> None:
    paused = {**BATCH, "status": "paused", "reasons": ["failure_rate", "wallet"]}
    assert "paused (failure rate, wallet)" in shown(paused, terminal=False)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59, "59 s"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_times_are_told_as_people_say_them(seconds: int, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("status", "words"),
    [("in_progress", "ETA unknown"), ("paused", "ETA unknown")]
    + [(state.value, "ETA it has ended") for state in sorted(ENDED_BATCHES)],
)
def test_a_batch_without_an_estimate_says_why(status: str, words: str) -> None:
    assert words in shown({**BATCH, "status": status, "eta_seconds": None}, terminal=False)
