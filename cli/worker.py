"""`imagequeue worker`: answer the doorbells of some queues, and deliver webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from cli.loading import loading_process
from cli.start_gate import AfterFd
from worker.names import BACKFILLS, DELIVERIES, QUEUES


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
    chosen = [name.strip() for name in queues.split(",") if name.strip()]
    if chosen == [BACKFILLS]:
        return _validate(after_fd)
    _require_queues(chosen)
    calls = chosen != [DELIVERIES]
    with loading_process():
        from cli.process import opened  # noqa: PLC0415  # heavy imports belong to the command that needs them
        from worker.worker import run_worker  # noqa: PLC0415

        if calls:
            import_module("worker.consumer")  # Celery, which would else be imported behind the gate
    with opened("worker", calls_upstreams=calls, after_fd=after_fd) as runtime:
        raise typer.Exit(run_worker(runtime, chosen, concurrency))


def _validate(after_fd: int | None) -> None:
    with loading_process():
        from cli.process import opened  # noqa: PLC0415  # as above
        from worker.validator import run_validator  # noqa: PLC0415

    with opened("worker", after_fd=after_fd) as runtime:
        run_validator(runtime)


def _require_queues(chosen: Sequence[str]) -> None:
    unknown = sorted(set(chosen) - set(QUEUES))
    if unknown or not chosen:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'nothing'}: the queues are {', '.join(QUEUES)}, or {BACKFILLS} alone"
        )
