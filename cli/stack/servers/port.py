"""Ports for servers that must come back on the same port.

Such a port must lie outside the kernel's ephemeral range. While the server is down, the kernel may give a
port of that range to any outgoing connection. A client that tries to reach the server on loopback can even be
given the server's port as its own source port: it then connects to itself (TCP's simultaneous open), and the
server cannot bind the port as long as that client lives.
"""

import random
import socket
from pathlib import Path

from cli.stack.supervisor import private_file
from cli.stack.supervisor.errors import StackError

_LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 10_000, 32_767  # above the usual ports of services, below Linux's usual ephemeral range
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 200  # random ports; if all of them are taken, so are nearly all others


def stored_or_free(path: Path) -> int:
    """The port that is stored in `path`, if it can be bound now; else a new one, which is stored there."""
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
        # As the servers do, for which connections in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
