"""`imagequeue env`: the variables of a running stack, for a shell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ValidationError

from cli.errors import reported


class _StackFile(BaseModel):
    env: dict[str, str]


@reported
def env(
    *,
    data_dir: Annotated[Path, typer.Option(help="Data folder of the stack.", file_okay=False)] = Path(
        ".imagequeue"
    ),
) -> None:
    """Print what other commands need to work on a running stack: eval "$(imagequeue env)"."""
    path = data_dir / "stack.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        typer.echo(f"imagequeue: no stack runs on {data_dir.absolute()} (there is no {path.name})", err=True)
        raise typer.Exit(1) from None
    except (OSError, ValueError):
        content = None
    try:
        variables = _StackFile.model_validate(content).env
    except ValidationError:
        typer.echo(f"imagequeue: {path.absolute()} is not the file of a stack", err=True)
        raise typer.Exit(1) from None
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
