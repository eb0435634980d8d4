"""The embedded Redis: password, append-only file, restarts on the same data."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# redis leaves its keyword arguments without annotations.

import os
import stat
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from cli.stack.servers.redis import EmbeddedRedis
from tests.cli.stack.processes_of import listening_on, server_in


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
