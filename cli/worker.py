"""`imagequeue worker`: answer the doorbells of some queues, and deliver webhooks."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.loading import loading
from cli.start_gate import AfterFd


def worker(
    queues: Annotated[
        str,
        typer.Option(
            help="Comma-separated: generate.interactive, generate.backfill, deliveries; or backfills alone."
        ),
    ] = "generate.interactive,generate.backfill,deliveries",
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Calls at the same time.")] = 64,
    after_fd: AfterFd = None,
) -> None:
    """Make upstream calls and deliver webhooks, or validate the files of batches, until SIGTERM."""
    with loading():
        from cli.process import opened  # noqa: PLC0415  # heavy imports belong to the command that needs them
        from worker.app import DELIVERIES, QUEUES  # noqa: PLC0415
        from worker.validator import BACKFILLS, run_validator  # noqa: PLC0415
        from worker.worker import run_worker  # noqa: PLC0415

    chosen = [name.strip() for name in queues.split(",") if name.strip()]
    if chosen == [BACKFILLS]:
        with opened("worker", after_fd=after_fd) as runtime:
            return run_validator(runtime)
    unknown = sorted(set(chosen) - set(QUEUES))
    if unknown or not chosen:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'nothing'}: the queues are {', '.join(QUEUES)}, or {BACKFILLS} alone"
        )
    with opened("worker", calls_upstreams=chosen != [DELIVERIES], after_fd=after_fd) as runtime:
        raise typer.Exit(run_worker(runtime, chosen, concurrency))
