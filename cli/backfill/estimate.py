"""What a file would cost and how long it would take, by the server's own reading of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.backfill.directory import LINES_NAME
from cli.backfill.display import BackfillDisplay
from cli.backfill.exits import WrongUse
from cli.backfill.panel import duration
from cli.backfill.server import BatchServer, Body, Patience
from cli.backfill.source import LineOptions, prepare

LOOK_SECONDS = 0.5
"""Between two looks at an estimate: a thousand lines take less, a million take a minute."""

_FILE_SECONDS = 24 * 3600
"""How long the server keeps a file that was sent for an estimate alone."""


def estimate_file(server: BatchServer, display: BackfillDisplay, source: Path, options: LineOptions) -> Body:
    """Send a file and read its estimate; nothing runs, and nothing is charged.

    Raises:
        WrongUse: the file is wrong; the message names the lines.
        RemoteRefusal, RemoteAway: the server refuses, or is away for too long.
    """
    patience = Patience()
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(source, Path(directory) / LINES_NAME, options)
        with display.upload(prepared.path.stat().st_size) as told:
            file_id = patience.ask(lambda: server.upload(prepared.path, told, expires_seconds=_FILE_SECONDS))
    return read_estimate(server, patience, file_id, source.name)


def read_estimate(server: BatchServer, patience: Patience, file_id: str, name: str) -> Body:
    """The estimate of a file that the server has, once all of it was read.

    Raises:
        WrongUse: lines of it are wrong; the message names them.
        RemoteRefusal, RemoteAway: as `estimate_file`.
    """
    found = patience.ask(lambda: server.ask_for_estimate(file_id))
    estimate_id = found["id"]
    while found["status"] not in {"completed", "failed"}:
        time.sleep(LOOK_SECONDS)
        found = patience.ask(lambda: server.estimate(estimate_id))
    if found["status"] == "failed":
        raise refused(name, found["errors"])
    return found


def refused(name: str, errors: Sequence[Mapping[str, Any]]) -> WrongUse:
    """The error of a file whose lines the server has found wrong."""
    told = [f"line {one['line']}: {one['message']}" if one["line"] else one["message"] for one in errors]
    return WrongUse("\n  ".join([f"{name} was refused; nothing was charged:", *told]))


def estimated(found: Mapping[str, Any]) -> str:
    """An estimate in words."""
    groups = ", ".join(found["limited_by"])
    if found["seconds"] is None:
        time_needed = "no deployment can serve some of the lines"
    else:
        time_needed = f"{duration(found['seconds'])} or more, as the quotas allow"
    limits = f" (limited by {groups})" if groups else ""
    skipped = f", {found['skipped']:,} more are here already" if found["skipped"] else ""
    return (
        f"{found['lines']:,} lines{skipped}, {found['images']:,} images:"
        f" USD {found['price_usd']}; {time_needed}{limits}"
    )
