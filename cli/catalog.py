"""`imagequeue catalog`: an example, a check of a file, or let a running stack's processes reload theirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import reported
from cli.output import console
from cli.process import opened
from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import load_catalog
from imagequeue.lifecycle.operate.reload_catalog import ask_for_reload
from imagequeue.programs import FOLDER
from imagequeue.providers.registry import PROVIDERS

app = typer.Typer(name="catalog", help="The catalog of models and deployments.", no_args_is_help=True)


@app.command()
@reported
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A catalog.toml.")]) -> None:
    """Check a file as processes do at their start; name the mistake and exit with 1 if there is one."""
    console.print(f"{file}: {_described(load_catalog(file, os.environ, PROVIDERS))}", soft_wrap=True)


@app.command()
def example() -> None:
    """Print catalog.toml, which explains every key: a file to begin one's own with."""
    typer.echo((FOLDER / "catalog.toml").read_text(encoding="utf-8"), nl=False)


@app.command()
@reported
def reload() -> None:
    """Check IMAGEQUEUE_CATALOG and ask every process to take it up; calls in flight are untouched."""
    with opened("cli") as runtime:
        catalog = ask_for_reload(runtime)
    console.print(
        f"Asked for: {_described(catalog)}. Every process takes it up within seconds.", soft_wrap=True
    )


def _described(catalog: Catalog) -> str:
    rate = sum(group.rpm * 60 / group.window_seconds for group in catalog.quota_groups.values())
    return (
        f"{len(catalog.models)} models, {len(catalog.deployments)} deployments, "
        f"{len(catalog.quota_groups)} quota groups, {rate:g} calls a minute"
    )
