"""`imagequeue status` and `imagequeue watch`: where jobs stand, now or until they are final."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import reported

RequestIds = Annotated[list[str], typer.Argument(metavar="REQUEST_ID...", help="Ids that submit printed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the status bodies as JSON, one a line.")]

Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Wait, and download the images into this directory. No file is overwritten."
    ),
]


@reported
def status(request_ids: RequestIds, *, as_json: AsJson = False) -> None:
    """Show where jobs stand."""
    from cli.progress import show  # noqa: PLC0415  # heavy imports belong to the command that needs them
    from cli.remote import remote  # noqa: PLC0415

    with remote() as server:
        show([server.status(request_id) for request_id in request_ids], as_json=as_json)


@reported
def watch(request_ids: RequestIds, *, out: Out = None, as_json: AsJson = False) -> None:
    """Wait until jobs are final; exit with 1 if one of them is not COMPLETED."""
    from cli.progress import follow, keeping  # noqa: PLC0415
    from cli.remote import remote  # noqa: PLC0415

    with remote() as server, keeping(out) as downloads:
        follow(server, request_ids, downloads, as_json=as_json)
