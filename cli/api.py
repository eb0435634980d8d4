"""`imagequeue api`: one API process."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from cli.errors import reported

STOP_SECONDS = 10
"""How long requests that are being served may take once SIGTERM has come."""


@reported
def api(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    fd: Annotated[int | None, typer.Option(help="Serve this listening socket instead.")] = None,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    from api.server import serve  # noqa: PLC0415  # heavy, and only this command needs it
    from imagequeue.runtime import open_runtime  # noqa: PLC0415
    from imagequeue.settings import load_settings  # noqa: PLC0415

    runtime = open_runtime(load_settings(), name="api")
    try:
        listener = socket.socket(fileno=fd) if fd is not None else _listen(host, port)
        with listener:
            serve(runtime, listener, stop_seconds=STOP_SECONDS)
    finally:
        runtime.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    listener.set_inheritable(False)
    return listener
