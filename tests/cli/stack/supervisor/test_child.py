"""Whatever child is killed, it runs again, on the same data."""

import os
import signal
import stat
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from redis import Redis
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 -- as redis names them

from imagequeue.signals import NOT_WORKING
from tests.cli.stack.conftest import Up
from tests.cli.stack.processes_of import listening_on
from tests.eventually import eventually

NAMES = (
    "postgres",
    "redis",
    "simulator",
    "api-1",
    "dispatcher",
    "worker-generate-interactive-1",
    "worker-generate-backfill-1",
    "worker-deliveries-1",
    "worker-backfills",
)


def _kill(up: Up, name: str) -> int:
    """Kill a child and wait until another one stands in `stack.json`; its pid."""
    return _send(up, name, signal.SIGKILL)


def _send(up: Up, name: str, number: signal.Signals) -> int:
    old = up.pids[name]
    os.kill(old, number)
    eventually(lambda: up.pids.get(name, old) != old)
    return up.pids[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_child_runs_again(running: Up, name: str) -> None:
    others = {other: pid for other, pid in running.pids.items() if other != name}
    new = _kill(running, name)
    assert psutil.Process(new).ppid() == running.process.pid
    assert {other: pid for other, pid in running.pids.items() if other != name} == others
    assert f"{name} was ended by SIGKILL; starting it again" in running.errors


@pytest.mark.parametrize("name", ["dispatcher", "worker-generate-interactive-1"])
def test_a_child_that_finds_that_it_no_longer_works_runs_again(running: Up, name: str) -> None:
    eventually((running.folder / f"beat-{running.pids[name]}").exists)
    _send(running, name, signal.SIGUSR1)
    assert f"{name} ended with code {NOT_WORKING}; starting it again" in running.errors


def test_a_killed_postgres_has_the_same_url_and_data(running: Up) -> None:
    url = running.stack["database_url"]
    eventually(lambda: _answers(url))
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with psycopg.connect(url):  # a session is open while the server is killed
        _kill(running, "postgres")
        eventually(lambda: _answers(url))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_killed_redis_has_the_same_url_and_data(running: Up) -> None:
    url = running.stack["redis_url"]
    with _redis(url) as client:
        eventually(lambda: _pongs(client))  # a test before may have killed it
        # By default a busy disk may cost the last second.
        client.config_set("appendfsync", "always")  # pyright: ignore[reportUnknownMemberType]
        client.set("kept", "42")
    _kill(running, "redis")
    with _redis(url) as client:
        eventually(lambda: _pongs(client))
        assert client.get("kept") == b"42"


def test_no_connection_is_refused_while_the_api_is_away(running: Up) -> None:
    url = running.stack["api_url"]
    with httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
        before = int(client.get("/readyz").text)
        os.kill(running.pids["api-1"], signal.SIGKILL)
        eventually(lambda: not psutil.pid_exists(before))
        assert httpx.get(f"{url}/readyz", trust_env=False, timeout=120).text != str(before)


def test_the_stack_file_has_what_the_contract_says(running: Up) -> None:
    stack: dict[str, Any] = running.stack
    assert stack.keys() >= {"api_url", "database_url", "redis_url", "env", "processes"}
    assert set(running.pids) == set(NAMES)
    assert stack["env"]["IMAGEQUEUE_DATABASE_URL"] == stack["database_url"]
    assert stack["env"]["IMAGEQUEUE_REDIS_URL"] == stack["redis_url"]
    assert stack["env"]["IMAGEQUEUE_SECRET_KEY"] == (running.data / "secret.key").read_text()
    assert running.lines == ["key sk-first", f"ready {stack['api_url']}"]


def test_what_is_secret_is_private(running: Up) -> None:
    modes = {
        path: stat.S_IMODE((running.data / path).stat().st_mode) for path in ("stack.json", "secret.key")
    }
    assert modes == {"stack.json": 0o600, "secret.key": 0o600}
    assert stat.S_IMODE(running.data.stat().st_mode) == 0o700


def test_no_password_is_in_the_process_list(running: Up) -> None:
    secrets = [(running.data / name / "password").read_text() for name in ("postgres", "redis")]
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in running.pids.values()]
    assert not [line for line in lines for secret in secrets if secret in line]


def test_every_server_listens_on_loopback(running: Up) -> None:
    addresses = [ip for pid in running.pids.values() for ip, _port in listening_on(psutil.Process(pid))]
    assert set(addresses) == {"127.0.0.1"}


def test_a_signal_of_the_terminal_reaches_the_supervisor_alone(running: Up) -> None:
    sessions = [os.getsid(pid) for pid in running.pids.values()]
    assert os.getsid(running.process.pid) not in sessions


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _redis(url: str) -> Redis:
    return Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]


def _pongs(client: Redis) -> bool:
    try:
        return client.ping()  # pyright: ignore[reportUnknownMemberType]
    except (ConnectionError, TimeoutError):
        return False
