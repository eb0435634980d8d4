"""The embedded Postgres: settings, password, restarts on the same data."""

import os
import signal
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest

from cli.stack.servers.binaries import postgres_installation
from cli.stack.servers.postgres import EmbeddedPostgres
from cli.stack.supervisor import process as processes
from cli.stack.supervisor.errors import DirectoryInUse
from tests.cli.stack.processes_of import family, listening_on, server_in, survivors
from tests.cli.stack.servers.asking import ask


def test_the_settings_keep_what_was_acknowledged(directory: Path) -> None:
    with EmbeddedPostgres(directory).running() as postgres:
        asked = ("fsync", "full_page_writes", "synchronous_commit", "password_encryption", "server_encoding")
        answers = [ask(postgres, f"SHOW {name}") for name in asked]
    assert answers == ["on", "on", "on", "scram-sha-256", "UTF8"]


def test_settings_can_be_overridden(directory: Path) -> None:
    with EmbeddedPostgres(directory, {"fsync": "off"}).running() as postgres:
        assert ask(postgres, "SHOW fsync") == "off"


def test_it_listens_on_loopback_only_and_on_no_socket_file(directory: Path) -> None:
    with EmbeddedPostgres(directory).running() as postgres:
        assert listening_on(server_in(directory / "data")) == [("127.0.0.1", postgres.port)]
        assert ask(postgres, "SHOW unix_socket_directories") == ""
        assert ask(postgres, "SHOW listen_addresses") == "127.0.0.1"


def test_a_wrong_password_is_refused(directory: Path) -> None:
    with (
        EmbeddedPostgres(directory).running() as postgres,
        pytest.raises(psycopg.OperationalError, match="password"),
    ):
        psycopg.connect(postgres.url.replace(postgres.password, "wrong"))


def test_the_password_is_private_and_not_in_the_process_list(directory: Path) -> None:
    with EmbeddedPostgres(directory).running() as postgres:
        assert postgres.password not in " ".join(server_in(directory / "data").cmdline())
    assert stat.S_IMODE((directory / "password").stat().st_mode) == 0o600


def test_data_port_and_password_stay_when_it_is_started_again(directory: Path) -> None:
    with EmbeddedPostgres(directory).running() as first:
        with psycopg.connect(first.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        url = first.url
    with EmbeddedPostgres(directory).running() as second:
        assert second.url == url
        assert ask(second, "SELECT answer FROM kept") == "42"


def test_it_starts_over_a_pid_file_whose_pid_is_somebody_elses_now(directory: Path) -> None:
    pid_file = directory / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{directory / 'data'}\n1700000000\n1\n\n127.0.0.1\n0 0\nready\n")
    with EmbeddedPostgres(directory).running() as postgres:
        assert ask(postgres, "SELECT 1") == "1"


def test_it_starts_again_after_sigkill_while_a_session_is_open(directory: Path) -> None:
    postgres = EmbeddedPostgres(directory)
    postgres.initialise()
    with (directory / "server.log").open("ab") as output:
        server = processes.start_alone(postgres.process(), output)
        postgres.await_answer(server, directory / "server.log")
        session = psycopg.connect(postgres.url)
        servants = family(server.pid)
        server.kill()
        server.wait()
        with postgres.running():
            assert ask(postgres, "SELECT 1") == "1"
        session.close()
    assert survivors(servants) == []


def test_an_old_server_that_is_still_shutting_down_is_waited_for(directory: Path) -> None:
    postgres = EmbeddedPostgres(directory)
    with postgres.running(), psycopg.connect(postgres.url):
        server = server_in(directory / "data")
        server.send_signal(signal.SIGINT)
        again = EmbeddedPostgres(directory)
        again.initialise()
        assert survivors([server]) == []
        with again.running():
            assert ask(again, "SELECT 1") == "1"


def test_a_living_server_is_never_fought(directory: Path) -> None:
    with EmbeddedPostgres(directory).running() as postgres:
        with (
            pytest.raises(DirectoryInUse, match="still works on"),
            (directory / "server.log").open("ab") as output,
        ):
            processes.start_alone(postgres.process(), output, seconds=0.2)
        assert ask(postgres, "SELECT 1") == "1"


def test_the_wheel_has_the_programs_that_are_used() -> None:
    for program in ("initdb", "postgres", "psql", "pg_ctl"):
        done = subprocess.run(
            [postgres_installation() / "bin" / program, "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "PostgreSQL) 18" in done.stdout
