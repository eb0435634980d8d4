"""Postgres under root: another identity, in a namespace or in a home of its own."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cli.stack.servers.postgres import EmbeddedPostgres
from cli.stack.supervisor.errors import StackError
from tests.cli.stack.processes_of import server_in
from tests.cli.stack.servers.asking import ask

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another identity")


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Path]:
    """A folder outside the home that everybody can pass, for the homes of other users."""
    folder = Path("/var/lib") / f"imagequeue-test-{tmp_path.name}-{os.getpid()}"
    folder.mkdir(mode=0o711)
    yield folder
    shutil.rmtree(folder)


@as_root
def test_as_root_it_runs_below_a_private_home_and_changes_no_permission(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with EmbeddedPostgres(
        home / "checkout" / ("deep" * 30) / "postgres", {"fsync": "off"}
    ).running() as postgres:
        assert ask(postgres, "SELECT 1") == "1"
        assert (postgres.directory / "data").stat().st_uid == 0
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@as_root
def test_without_namespaces_root_gives_it_a_folder_of_its_own(tmp_path: Path, homes: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)

    def postgres() -> EmbeddedPostgres:
        return EmbeddedPostgres(home / "postgres", {"fsync": "off"}, refuse_namespaces=True, home_base=homes)

    with postgres().running() as first:
        server = server_in(home / "postgres" / "data")
        folder = (home / "postgres" / "data").readlink().parent
        assert server.uids().effective == folder.stat().st_uid != 0
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with psycopg.connect(first.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with postgres().running() as second:
        assert ask(second, "SELECT answer FROM kept") == "42"
    assert len(list(homes.iterdir())) == 1
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@as_root
def test_that_namespaces_are_refused_is_noticed(directory: Path, homes: Path) -> None:
    run = (
        "import sys; from pathlib import Path; from cli.stack.servers.postgres import EmbeddedPostgres as E\n"
        "with E(Path(sys.argv[1]), home_base=Path(sys.argv[2])).running() as e: print('answers', e.answers())"
    )
    words = [sys.executable, str(Path(__file__).with_name("refusing.py")), sys.executable, "-c", run]
    done = subprocess.run(
        [*words, str(directory), str(homes)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "answers True\n", done.stderr
    assert (directory / "data").readlink().is_relative_to(homes)


@as_root
def test_a_cluster_made_in_a_namespace_moves_out_when_they_are_refused(directory: Path, homes: Path) -> None:
    postgres = EmbeddedPostgres(directory, refuse_namespaces=True, home_base=homes)
    with postgres.running():
        assert ask(postgres, "SELECT 1") == "1"
    assert (directory / "data").is_symlink()


@as_root
def test_a_home_that_is_gone_is_an_error_and_not_an_empty_database(directory: Path, homes: Path) -> None:
    postgres = EmbeddedPostgres(directory, refuse_namespaces=True, home_base=homes)
    postgres.initialise()
    shutil.rmtree((directory / "data").readlink().parent)
    with pytest.raises(StackError, match="is gone"):
        EmbeddedPostgres(directory).initialise()
