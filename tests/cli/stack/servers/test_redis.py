"""The embedded Redis: password, append-only file, restarts on the same data."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# redis leaves its keyword arguments without annotations.

import os
import socket
import stat
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from cli.stack.servers.redis import EmbeddedRedis
from tests.cli.stack.processes_of import listening_on, server_in

MIB = 1024 * 1024


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / 'a folder with "quotes" and \\' / "redis"


def _append_only_file(directory: Path) -> Path:
    return max(directory.rglob("*.aof"), key=lambda file: file.stat().st_size)


def test_what_was_written_survives_a_kill(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as first, redis.Redis.from_url(first.url) as client:
        client.set("kept", "42")
        client.execute_command("CONFIG", "SET", "appendfsync", "always")
        client.set("kept too", "43")
        url = first.url
        server_in(directory).kill()
    with EmbeddedRedis(directory).running() as second, redis.Redis.from_url(second.url) as client:
        assert second.url == url
        assert client.mget("kept", "kept too") == [b"42", b"43"]


def test_a_truncated_append_only_file_loads(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as first, redis.Redis.from_url(first.url) as client:
        client.set("whole", "1")
        client.set("half", "2" * 100)
    file = _append_only_file(directory)
    os.truncate(file, file.stat().st_size - 50)
    with EmbeddedRedis(directory).running() as second, redis.Redis.from_url(second.url) as client:
        assert client.get("whole") == b"1"
        assert client.get("half") is None


def test_an_append_only_file_that_ends_in_zeros_loads(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as first, redis.Redis.from_url(first.url) as client:
        client.set("whole", "1")
    with _append_only_file(directory).open("ab") as file:
        file.write(bytes(4096))
    with EmbeddedRedis(directory).running() as second, redis.Redis.from_url(second.url) as client:
        assert client.get("whole") == b"1"


def test_a_password_is_needed_and_not_in_the_process_list(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as server:
        assert server.password not in " ".join(server_in(directory).cmdline())
        with (
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(AuthenticationError),
        ):
            stranger.ping()
    for name in ("password", "redis.conf"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_it_listens_on_loopback_only(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as server:
        assert listening_on(server_in(directory)) == [("127.0.0.1", server.port)]


def test_a_stranger_who_reads_no_answers_does_not_grow_the_server(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as server, redis.Redis.from_url(server.url) as client:
        before = client.info("memory")["used_memory_peak"]
        with socket.create_connection(("127.0.0.1", server.port)) as stranger:
            assert _is_cut_off(stranger, 24 * MIB)
        assert client.info("memory")["used_memory_peak"] - before < 4 * MIB
        assert client.ping()


def _is_cut_off(connection: socket.socket, size: int) -> bool:
    """Whether the server closes the connection while `size` bytes of commands are sent; reads nothing."""
    commands = b"PING\r\n" * (MIB // 6)
    try:
        for _part in range(size // MIB):
            connection.sendall(commands)
    except ConnectionError:
        return True
    return False


def test_what_the_server_keeps_for_a_client_that_reads_no_answers_is_bounded(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as server, redis.Redis.from_url(server.url) as client:
        client.set("long", bytes(MIB // 4))
        before = client.info("memory")["used_memory_peak"]
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(f"AUTH {server.password}\r\n".encode() + b"GET long\r\n" * 400)
            cut = (client.info("stats")["client_output_buffer_limit_disconnections"] for _ in range(20_000))
            assert any(cut), "the server keeps all that nobody reads"
        assert client.info("memory")["used_memory_peak"] - before < 40 * MIB
