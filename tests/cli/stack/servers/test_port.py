"""Ports of the servers: kept, and free."""

import socket
from pathlib import Path

from cli.stack.servers import port


def test_a_kept_port_stays_until_somebody_else_has_it(tmp_path: Path) -> None:
    first = port.stored_or_free(tmp_path / "port")
    assert port.stored_or_free(tmp_path / "port") == first
    with socket.create_server(("127.0.0.1", first)):
        assert port.stored_or_free(tmp_path / "port") != first


def test_a_free_port_is_never_lent_to_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port.free() < lowest for _ in range(50))
