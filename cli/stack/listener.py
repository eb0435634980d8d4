"""The socket on which the API answers, bound by the supervisor and inherited by every api process.

While no api process runs, connections wait in the socket's queue and are not refused.
"""

import socket

from cli.stack.supervisor.errors import StackError

_QUEUE = 2048  # connections: what clients open in the seconds that a restart takes


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; port 0 takes a free one.

    Raises:
        StackError: the address cannot be bound; the message says why.
    """
    try:
        return _bound(host, port)
    except OSError as refused:
        reason = f"Cannot listen on {host}:{port}: {refused.strerror}."
        raise StackError(f"{reason} Choose another with --host or --port.") from refused


def _bound(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _kind, _protocol, _name, address = found[0]
    both = address[0] == "::" and socket.has_dualstack_ipv6()  # `::` is every address, of IPv4 too
    return socket.create_server(address[:2], family=family, backlog=_QUEUE, dualstack_ipv6=both)


def url_of(host: str, listener: socket.socket) -> str:
    """The URL by which a client on this machine reaches the listener."""
    port = listener.getsockname()[1]
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
    name = everywhere.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
