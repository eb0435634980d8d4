"""Tables of the command line: what tells rows apart is whole, on every width and through a pipe."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from cli import tables
from cli.deployments import COLUMNS as DEPLOYMENTS
from cli.keys import COLUMNS as KEYS
from cli.tables import Column, print_table

NAMES = [f"foundry-mai-image-2-5-flash-region-{number}" for number in range(1, 10)]
ERROR = "Too many requests: the quota of this deployment is used up, and it recovers within a minute or two"
ROWS = [
    (name, "1", "900 of 1000", "3", "3600.0 s", "12", "open, misconfigured", "17", ERROR) for name in NAMES
]
KEY_ROWS = [
    (
        f"019d0000-0000-7000-8000-00000000000{number}",
        "an account",
        "ci",
        "iq_0123456789abcdef_…",
        "yes",
        "6",
        "",
    )
    for number in range(3)
]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is printed on a terminal of 80 columns."""
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(tables, "console", terminal)
    with contextlib.closing(output):
        yield output


def test_nine_deployments_are_told_apart_on_80_columns(printed: io.StringIO) -> None:
    print_table(DEPLOYMENTS, ROWS)
    text = printed.getvalue()
    assert [name for name in NAMES if name not in text] == []
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("open, misconfigured") == len(NAMES)
    assert "Left out: order, rpm, tokens out, next start, in flight, drift" in " ".join(text.split())


def test_a_sentence_takes_several_lines_and_loses_no_word(printed: io.StringIO) -> None:
    print_table([Column("name"), Column("last error", prose=True)], [("east", ERROR)])
    cells = [line.split("│")[2].strip() for line in printed.getvalue().splitlines() if line.startswith("│")]
    assert " ".join(cells) == ERROR


def test_keys_have_their_whole_id_on_80_columns(printed: io.StringIO) -> None:
    print_table(KEYS, KEY_ROWS)
    text = printed.getvalue()
    assert [row[0] for row in KEY_ROWS if row[0] not in text] == []
    assert max(map(len, text.splitlines())) <= 80


def test_a_name_that_is_wider_than_the_terminal_goes_on_in_the_next_line(printed: io.StringIO) -> None:
    long = "x" * 70 + "y" * 70
    print_table([Column("name"), Column("drift", rank=1)], [(long, "0")])
    cells = [line.strip("│ ") for line in printed.getvalue().splitlines() if line.startswith("│")]
    assert "".join(cells) == long


def test_what_looks_like_markup_is_a_name(printed: io.StringIO) -> None:
    print_table([Column("account")], [("[bold]team[/bold]",)])
    assert "[bold]team[/bold]" in printed.getvalue()


def test_what_a_stranger_sent_does_not_command_the_terminal(printed: io.StringIO) -> None:
    print_table([Column("answer")], [("\x1b]0;title\x07 \x9b31m \N{RIGHT-TO-LEFT OVERRIDE}busy",)])
    text = printed.getvalue()
    assert "busy" in text
    assert all(one.isprintable() for one in text.replace("\n", ""))


def test_a_pipe_gets_every_column_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(DEPLOYMENTS, ROWS)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [tuple(cell.strip() for cell in line.strip("│").split("│")) for line in lines] == ROWS
