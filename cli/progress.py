"""Wait for jobs and show how far they are, on standard error, so that results can be piped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from cli.downloads import Downloads, downloads
from cli.output import notices, print_json
from cli.remote import Remote, RemoteAway
from imagequeue.domain.backoff import JOB_WATCHING
from imagequeue.domain.jobs import FINAL, JobStatus

Body = dict[str, Any]

LONGEST_OUTAGE_SECONDS = 600.0
"""How long a server that has answered before may be away: a restart or an upgrade takes less."""


def keeping(directory: Path | None) -> AbstractContextManager[Downloads | None]:
    """Downloads into the directory, if there is one; it is made now.

    Raises:
        ConfigurationError: it takes no files.
    """
    return nullcontext() if directory is None else downloads(directory)


def follow(
    server: Remote, request_ids: Sequence[str], keep: Downloads | None = None, *, as_json: bool
) -> None:
    """Wait until every job is final, download the images where `keep` is given, and show all jobs.

    Then a shown job has the `files` of its images.

    Raises:
        Exit: with 1 if a job was not completed.
        RemoteRefusal, RemoteAway: an image could not be downloaded; the jobs are shown before.
    """
    bodies = _wait(server, list(dict.fromkeys(request_ids)))
    try:
        if keep is not None:
            _download(bodies, keep)
    finally:
        show(bodies, as_json=as_json)
    if any(body["status"] != JobStatus.COMPLETED for body in bodies):
        raise typer.Exit(1)


def _download(bodies: Sequence[Body], keep: Downloads) -> None:
    for body in bodies:
        body["files"] = [str(path) for path in keep.save(body)]


def show(bodies: Sequence[Body], *, as_json: bool) -> None:
    """Print status bodies."""
    for body in bodies:
        if as_json:
            print_json(body)
        else:
            _print(body)


def _wait(server: Remote, request_ids: list[str]) -> list[Body]:
    bodies = {request_id: server.status(request_id) for request_id in request_ids}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=notices, transient=True) as progress:
        task = progress.add_task("waiting", total=len(request_ids))
        polls, outages = 0, _Outages()
        while True:
            waiting = [request_id for request_id, body in bodies.items() if body["status"] not in FINAL]
            progress.update(task, completed=len(bodies) - len(waiting), description=_summary(bodies))
            if not waiting:
                return list(bodies.values())
            polls += 1
            time.sleep(JOB_WATCHING.full_seconds(polls))
            bodies |= outages.statuses(server, waiting)


class _Outages:
    """Tolerates that the server is away for a while, because its API or its database restarts."""

    def __init__(self) -> None:
        self._answered_at = time.monotonic()

    def statuses(self, server: Remote, request_ids: Sequence[str]) -> dict[str, Body]:
        """The status bodies that the server gives now.

        Raises:
            RemoteAway: it has given none for `LONGEST_OUTAGE_SECONDS`.
        """
        bodies: dict[str, Body] = {}
        try:
            for request_id in request_ids:
                bodies[request_id] = server.status(request_id)
                self._answered_at = time.monotonic()
        except RemoteAway:
            if time.monotonic() - self._answered_at > LONGEST_OUTAGE_SECONDS:
                raise
        return bodies


def _summary(bodies: dict[str, Body]) -> str:
    counts = Counter(body["status"] for body in bodies.values())
    return ", ".join(f"{counts[status]} {status}" for status in JobStatus if counts[status])


def _print(body: Body) -> None:
    reason = f"  {body['error']}" if body["error"] else ""
    typer.echo(f"{body['request_id']}  {body['status']}{reason}")
    output = cast("Body", body["output"] or {})
    for place in body.get("files", output.get("media_url", ())):
        typer.echo(f"  {place}")
