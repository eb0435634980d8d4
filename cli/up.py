"""`imagequeue up`: run the whole stack."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import reported
from cli.stack import up as stack
from cli.stack.console import Console
from cli.stack.options import SIMULATOR_RPM, Options
from cli.stack.supervisor.errors import StackError
from cli.stack_hooks import hooks
from imagequeue.settings import refuse_unknown_variables

SimulatorRpm = Annotated[
    int,
    typer.Option(min=1, max=SIMULATOR_RPM, help="Calls a minute of each deployment of the built-in catalog."),
]


@reported
def up(  # noqa: PLR0913  # the command's options
    *,
    host: Annotated[str, typer.Option(help="Address on which the API listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = 8000,
    data_dir: Annotated[Path, typer.Option(help="Folder of all data and logs.")] = Path(".imagequeue"),
    catalog: Annotated[
        Path | None,
        typer.Option(
            help="Catalog file. Without it: IMAGEQUEUE_CATALOG, else the simulator.", dir_okay=False
        ),
    ] = None,
    api_workers: Annotated[int, typer.Option(min=1, help="Processes of the API.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes for each queue.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at a time in each worker process.")] = 64,
    simulator_rpm: SimulatorRpm = SIMULATOR_RPM,
    stop_timeout: Annotated[
        float, typer.Option(min=0.5, help="Seconds until what still runs is ended by force.")
    ] = 15.0,
) -> None:
    """Run the whole stack: Postgres, Redis, API, dispatcher, workers."""
    refuse_unknown_variables(os.environ)
    options = Options(
        host=host,
        port=port,
        data_dir=data_dir,
        catalog=catalog,
        api_workers=api_workers,
        workers=workers,
        concurrency=concurrency,
        simulator_rpm=simulator_rpm,
        stop_timeout=stop_timeout,
    )
    try:
        stack.up(options, hooks(), Console(say=typer.echo, report=_report))
    except StackError as error:
        _report(str(error))
        raise typer.Exit(1) from error


def _report(line: str) -> None:
    typer.echo(f"imagequeue: {line}", err=True)
