"""`imagequeue env` in a shell."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli.env import env

app = typer.Typer()
app.command()(env)
VALUES = {"IMAGEQUEUE_URL": "http://127.0.0.1:1", "SOME_KEY": "a 'quoted' $HOME `id` key\n"}


def test_a_shell_gets_every_value_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"env": VALUES}))
    printed = CliRunner().invoke(app, ["--data-dir", str(tmp_path)]).stdout
    shell = ["sh", "-c", f'{printed}\nprintf "%s|%s" "$IMAGEQUEUE_URL" "$SOME_KEY"']
    told = subprocess.run(shell, env={}, capture_output=True, text=True, check=True).stdout
    assert told == "|".join(VALUES.values())


def test_without_a_stack_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "no stack runs" in result.stderr


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"env": 5}', b"\xff", b"{"])
def test_a_file_that_is_none_of_a_stack_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stack.json").write_bytes(content)
    result = CliRunner().invoke(app, ["--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "is not the file of a stack" in result.stderr
