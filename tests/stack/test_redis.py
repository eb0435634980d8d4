"""The embedded Redis: password, append-only file, restarts on the same data."""

import os
import stat
from pathlib import Path

import psutil
import pytest
import redis

from cli.stack.redis import EmbeddedRedis


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / 'a folder with "quotes" and \\' / "redis"


def _server() -> psutil.Process:
    return next(child for child in psutil.Process().children() if child.name() == "redis-server")


def _append_only_file(directory: Path) -> Path:
    return max(directory.rglob("*.aof"), key=lambda file: file.stat().st_size)


def test_what_was_written_survives_a_kill(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as first, redis.Redis.from_url(first.url) as client:
        client.set("kept", "42")
        client.execute_command("CONFIG", "SET", "appendfsync", "always")
        client.set("kept too", "43")
        url = first.url
        _server().kill()
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


def test_a_password_is_needed_and_not_in_the_process_list(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as server:
        assert server.password not in " ".join(_server().cmdline())
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
            stranger.ping()
    for name in ("password", "redis.conf"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_it_listens_on_loopback_only(directory: Path) -> None:
    with EmbeddedRedis(directory).running() as server:
        addresses = [tuple(c.laddr) for c in _server().net_connections() if c.status == "LISTEN"]
    assert addresses == [("127.0.0.1", server.port)]
