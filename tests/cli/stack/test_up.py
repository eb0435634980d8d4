"""How a stack starts, stops, and ends when its supervisor is killed."""

import os
import signal
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from cli.stack.listener import listen
from cli.stack.servers.redis import EmbeddedRedis
from cli.stack.supervisor.errors import StackError
from tests.cli.stack.conftest import Starter, Up
from tests.cli.stack.processes_of import survivors
from tests.eventually import eventually


def _remember(up: Up) -> None:
    with psycopg.connect(up.stack["database_url"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def _remembers(up: Up) -> bool:
    with psycopg.connect(up.stack["database_url"]) as connection:
        return connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_cleanly(start: Starter, number: signal.Signals) -> None:
    up = start().until_ready()
    processes = up.family()
    assert up.end(number) == 0
    assert survivors(processes) == []
    assert not (up.data / "stack.json").exists()
    assert not (up.data / "postgres" / "data" / "postmaster.pid").exists()
    assert "database system is shut down" in (up.data / "logs" / "postgres.log").read_text()


def test_a_terminal_that_hangs_up_stops_everything_cleanly(start: Starter) -> None:
    terminal, end = os.openpty()
    up = start(terminal=end).until_ready()
    os.close(end)
    processes = up.family()
    os.close(terminal)  # the kernel sends SIGHUP
    assert up.process.wait(120) == 0
    assert survivors(processes) == []
    assert "reloaded" not in up.notes


def test_without_a_terminal_a_hangup_means_that_the_catalog_has_changed(start: Starter) -> None:
    up = start()
    eventually(lambda: up.data.joinpath("stack.json").exists(), 60)
    up.process.send_signal(signal.SIGHUP)  # kept until everybody is there to hear of it
    up.until_ready()
    eventually(lambda: up.notes.count("reloaded") == 1)
    pids = up.pids
    up.process.send_signal(signal.SIGHUP)
    eventually(lambda: up.notes.count("reloaded") == 2)
    assert up.pids == pids
    assert up.end() == 0
    assert "catalog reloaded" in up.errors


def test_what_uses_the_simulator_and_the_servers_is_stopped_before_them(start: Starter) -> None:
    up = start().until_ready()
    up.end()
    stopped = [note for note in up.notes if note.startswith("stopped")]
    assert stopped[-1] == "stopped simulator"
    assert sorted(stopped[:-1]) == ["stopped dispatcher", *["stopped worker"] * 4]


def test_nothing_is_left_when_the_supervisor_is_killed_and_a_second_up_continues(start: Starter) -> None:
    first = start().until_ready()
    _remember(first)
    pids, processes = first.pids, first.family()
    assert {process.pid for process in processes} >= set(pids.values())
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = start().until_ready()  # at once: it waits for what is still dying
    assert survivors(processes) == []
    assert _remembers(second)
    assert second.lines == [f"ready {second.stack['api_url']}"]  # the first key is shown once
    assert not set(pids.values()) & set(second.pids.values())


def test_a_second_up_continues_after_a_clean_stop(start: Starter) -> None:
    first = start().until_ready()
    _remember(first)
    url = first.stack["database_url"]
    first.end()
    second = start().until_ready()
    assert second.stack["database_url"] == url
    assert _remembers(second)


def test_two_at_a_time_are_refused(start: Starter) -> None:
    first = start().until_ready()
    second = start()
    assert second.process.wait(120) == 1
    assert f"already runs on {first.data} (pid {first.process.pid})" in second.errors
    assert psutil.pid_exists(first.pids["api-1"])
    assert (first.data / "stack.json").exists()


def test_what_does_not_stop_is_ended_within_the_stop_timeout(start: Starter) -> None:
    up = start(stop_timeout=2.0).until_ready()
    (up.folder / "stubborn").touch()
    processes = up.family()
    begin = time.monotonic()
    assert up.end() == 0
    assert time.monotonic() - begin < 60
    assert survivors(processes) == []
    assert "database system is shut down" in (up.data / "logs" / "postgres.log").read_text()


def test_a_second_signal_ends_at_once_what_still_runs(start: Starter) -> None:
    up = start(stop_timeout=100.0).until_ready()
    (up.folder / "stubborn").touch()
    processes = up.family()
    up.process.send_signal(signal.SIGINT)
    eventually(lambda: up.notes.count("stopped worker") == 4)
    assert up.end(signal.SIGINT) == 0
    assert survivors(processes) == []


def test_a_child_that_cannot_start_ends_up_with_its_own_words(start: Starter) -> None:
    (start.folder / "broken-worker").touch()
    up = start()
    processes: list[psutil.Process] = []
    eventually(lambda: bool(up.data.joinpath("stack.json").exists()), 60)
    processes += up.family()
    assert up.process.wait(120) == 1
    assert "again and again" in up.errors
    assert "worker is broken" in up.errors
    assert survivors(processes) == []


def test_a_failed_migration_ends_up_with_its_own_words(start: Starter) -> None:
    (start.folder / "broken-migrate").touch()
    up = start()
    assert up.process.wait(120) == 1
    assert "migrate ended with code 1" in up.errors
    assert "migrate is broken" in up.errors


def test_a_schema_that_is_the_newest_is_not_migrated(start: Starter) -> None:
    (start.folder / "broken-migrate").touch()
    (start.folder / "schema-is-newest").touch()
    assert start().until_ready().end() == 0


def test_processes_import_while_the_servers_start_and_go_on_once_the_schema_is_there(start: Starter) -> None:
    (start.folder / "hold-migrate").touch()
    up = start()
    eventually(lambda: (start.folder / "notes").exists() and "started migrate" in up.notes, 60)
    eventually(lambda: sum(note.startswith("imported ") for note in up.notes) == 6, 60)
    begun = {note.split()[1] for note in up.notes if note.startswith("started ")}
    assert begun <= {"migrate", "simulator"}
    (start.folder / "hold-migrate").unlink()
    up.until_ready()
    assert up.end() == 0


def test_a_stop_before_the_schema_is_there_leaves_nothing(start: Starter) -> None:
    (start.folder / "hold-migrate").touch()
    up = start()
    eventually(lambda: (start.folder / "notes").exists() and "started migrate" in up.notes, 60)
    processes = up.family()
    assert up.end() == 0
    assert survivors(processes) == []


def test_a_stop_while_it_starts_leaves_nothing(start: Starter) -> None:
    up = start()
    eventually(lambda: up.data.joinpath("stack.json").exists(), 60)
    processes = up.family()
    assert up.end() == 0
    assert survivors(processes) == []


def test_a_url_in_the_environment_replaces_the_embedded_server(start: Starter, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "own").running() as own:
        up = start(env={"IMAGEQUEUE_REDIS_URL": own.url}).until_ready()
        assert up.stack["redis_url"] == own.url
        assert "redis" not in up.pids
        assert up.end() == 0
        assert own.answers()


def test_a_catalog_of_ones_own_needs_no_simulator(start: Starter, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text('[[deployments]]\nname = "mine"\nkey_env = "MY_KEY"\n')
    up = start(env={"IMAGEQUEUE_CATALOG": str(catalog), "MY_KEY": "k", "OTHER": "o"}).until_ready()
    assert "simulator" not in up.pids
    assert up.stack["env"]["MY_KEY"] == "k"
    assert up.stack["env"]["IMAGEQUEUE_CATALOG"] == str(catalog)
    assert "OTHER" not in up.stack["env"]


def test_a_taken_port_is_named() -> None:
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(StackError, match="Choose another with --host or --port"),
    ):
        listen("127.0.0.1", taken.getsockname()[1])
