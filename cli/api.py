"""`imagequeue api`: one API process."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from cli.loading import loading_process
from cli.start_gate import AfterFd

STOP_SECONDS = 10
"""Seconds that requests may still take once SIGTERM has come. By default `up` kills after 11 s."""

BACKLOG = 2048
"""Connections that the kernel lets wait in the socket's queue: a burst comes while the process starts."""


def api(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; :: is every one of IPv4 and IPv6.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    fd: Annotated[int | None, typer.Option(help="Serve this listening socket instead.")] = None,
    after_fd: AfterFd = None,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    with loading_process():
        from api.server import serve  # noqa: PLC0415  # heavy imports belong to the command that needs them
        from cli.process import opened  # noqa: PLC0415

    with opened("api", after_fd=after_fd) as runtime, _listener(host, port, fd) as listener:
        serve(runtime, listener, stop_seconds=STOP_SECONDS)


def _listener(host: str, port: int, fd: int | None) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        typer.echo(f"imagequeue: cannot listen on {host}:{port}: {error.strerror}", err=True)
        raise typer.Exit(1) from None
