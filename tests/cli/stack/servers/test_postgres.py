"""The embedded Postgres: settings, password, restarts on the same data, and root."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cli.stack.servers.binaries import postgres_installation
from cli.stack.servers.postgres import EmbeddedPostgres
from cli.stack.supervisor import process as processes
from cli.stack.supervisor.errors import DirectoryInUse, StackError
from tests.cli.stack.processes_of import family, listening_on, server_in, survivors

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another identity")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("cluster") / "postgres")
    postgres.initialise()
    return postgres.directory


@pytest.fixture
def directory(cluster: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cluster, tmp_path / "postgres"))


@pytest.fixture
def lodgings(tmp_path: Path) -> Iterator[Path]:
    """A place outside the home that everybody can pass."""
    folder = Path("/var/lib") / f"imagequeue-test-{tmp_path.name}-{os.getpid()}"
    folder.mkdir(mode=0o711)
    yield folder
    shutil.rmtree(folder)


def _ask(postgres: EmbeddedPostgres, query: str) -> str:
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def test_the_settings_keep_what_was_acknowledged(directory: Path) -> None:
    with EmbeddedPostgres(directory).running() as postgres:
        asked = ("fsync", "full_page_writes", "synchronous_commit", "password_encryption", "server_encoding")
        answers = [_ask(postgres, f"SHOW {name}") for name in asked]
    assert answers == ["on", "on", "on", "scram-sha-256", "UTF8"]


def test_settings_can_be_overridden(directory: Path) -> None:
    with EmbeddedPostgres(directory, {"fsync": "off"}).running() as postgres:
        assert _ask(postgres, "SHOW fsync") == "off"


def test_it_listens_on_loopback_only_and_on_no_socket_file(directory: Path) -> None:
    with EmbeddedPostgres(directory).running() as postgres:
        assert listening_on(server_in(directory / "data")) == [("127.0.0.1", postgres.port)]
        assert _ask(postgres, "SHOW unix_socket_directories") == ""
        assert _ask(postgres, "SHOW listen_addresses") == "127.0.0.1"


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
        assert _ask(second, "SELECT answer FROM kept") == "42"


def test_it_starts_over_a_pid_file_whose_pid_is_somebody_elses_now(directory: Path) -> None:
    pid_file = directory / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{directory / 'data'}\n1700000000\n1\n\n127.0.0.1\n0 0\nready\n")
    with EmbeddedPostgres(directory).running() as postgres:
        assert _ask(postgres, "SELECT 1") == "1"


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
            assert _ask(postgres, "SELECT 1") == "1"
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
            assert _ask(again, "SELECT 1") == "1"


def test_a_living_server_is_never_fought(directory: Path) -> None:
    with EmbeddedPostgres(directory).running() as postgres:
        with (
            pytest.raises(DirectoryInUse, match="still works on"),
            (directory / "server.log").open("ab") as output,
        ):
            processes.start_alone(postgres.process(), output, seconds=0.2)
        assert _ask(postgres, "SELECT 1") == "1"


@as_root
def test_as_root_it_runs_below_a_private_home_and_changes_no_permission(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with EmbeddedPostgres(
        home / "checkout" / ("deep" * 30) / "postgres", {"fsync": "off"}
    ).running() as postgres:
        assert _ask(postgres, "SELECT 1") == "1"
        assert (postgres.directory / "data").stat().st_uid == 0
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@as_root
def test_without_namespaces_root_gives_it_a_folder_of_its_own(tmp_path: Path, lodgings: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)

    def postgres() -> EmbeddedPostgres:
        return EmbeddedPostgres(
            home / "postgres", {"fsync": "off"}, refuse_namespaces=True, lodgings=lodgings
        )

    with postgres().running() as first:
        server = server_in(home / "postgres" / "data")
        folder = (home / "postgres" / "data").readlink().parent
        assert server.uids().effective == folder.stat().st_uid != 0
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with psycopg.connect(first.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with postgres().running() as second:
        assert _ask(second, "SELECT answer FROM kept") == "42"
    assert len(list(lodgings.iterdir())) == 1
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@as_root
def test_that_namespaces_are_refused_is_noticed(directory: Path, lodgings: Path) -> None:
    run = (
        "import sys; from pathlib import Path; from cli.stack.servers.postgres import EmbeddedPostgres as E\n"
        "with E(Path(sys.argv[1]), lodgings=Path(sys.argv[2])).running() as e: print('answers', e.answers())"
    )
    words = [sys.executable, str(Path(__file__).with_name("refusing.py")), sys.executable, "-c", run]
    done = subprocess.run(
        [*words, str(directory), str(lodgings)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "answers True\n", done.stderr
    assert (directory / "data").readlink().is_relative_to(lodgings)


@as_root
def test_a_cluster_made_in_a_namespace_moves_out_when_they_are_refused(
    directory: Path, lodgings: Path
) -> None:
    postgres = EmbeddedPostgres(directory, refuse_namespaces=True, lodgings=lodgings)
    with postgres.running():
        assert _ask(postgres, "SELECT 1") == "1"
    assert (directory / "data").is_symlink()


@as_root
def test_a_lodging_that_is_gone_is_an_error_and_not_an_empty_database(
    directory: Path, lodgings: Path
) -> None:
    postgres = EmbeddedPostgres(directory, refuse_namespaces=True, lodgings=lodgings)
    postgres.initialise()
    shutil.rmtree((directory / "data").readlink().parent)
    with pytest.raises(StackError, match="is gone"):
        EmbeddedPostgres(directory).initialise()


def test_the_wheel_has_the_programs_that_are_used() -> None:
    for program in ("initdb", "postgres", "psql", "pg_ctl"):
        done = subprocess.run(
            [postgres_installation() / "bin" / program, "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "PostgreSQL) 18" in done.stdout
