"""`imagequeue dispatcher`: grant quota, claim jobs, sweep."""

from __future__ import annotations

from cli.loading import loading_process
from cli.start_gate import AfterFd


def dispatcher(*, after_fd: AfterFd = None) -> None:
    """Dispatch jobs until SIGTERM. Any number of dispatchers may run."""
    with loading_process():
        from cli.process import opened  # noqa: PLC0415  # heavy imports belong to the command that needs them
        from worker.dispatcher import run_dispatcher  # noqa: PLC0415

    with opened("dispatcher", after_fd=after_fd) as runtime:
        run_dispatcher(runtime)
