"""Ports for servers that must come back on the same port.

A port from the kernel's ephemeral range will not do. While the server is down that port may be lent to any
outgoing connection of the machine; worse, a client that keeps trying to reach it on loopback can be given the
very port as its own source port and then connects to itself (TCP's simultaneous open), after which the server
can never bind it again.
"""

import random
import socket
from pathlib import Path

from cli.stack.supervisor import private_file
from cli.stack.supervisor.errors import StackError

_LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 10_000, 32_767
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 200


def kept(path: Path) -> int:
    """The port written in `path` if it can be bound now, else a new one, which is written there."""
    if path.exists() and _is_free(port := int(path.read_text(encoding="utf-8"))):
        return port
    port = free()
    private_file.replace(path, str(port))
    return port


def free() -> int:
    """A port on loopback, outside the ephemeral range, that nothing listens on.

    Raises:
        StackError: 200 random ports were all in use.
    """
    chance = random.SystemRandom()
    for _ in range(_TRIES):
        port = chance.randrange(_LOWEST, _below_ephemeral())
        if _is_free(port):
            return port
    raise StackError(f"No free port was found on {_LOOPBACK}.")


def _below_ephemeral() -> int:
    if not _RANGE.exists():
        return _HIGHEST
    first = int(_RANGE.read_text(encoding="ascii").split()[0])
    return first if first > _LOWEST else _HIGHEST


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
