"""What the embedded Postgres and Redis have in common: a folder, a password, a port, a child process."""

import secrets
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cli.stack.servers import port
from cli.stack.supervisor import private_file
from cli.stack.supervisor import process as processes
from cli.stack.supervisor.errors import StartFailed
from cli.stack.supervisor.logs import tail
from cli.stack.supervisor.process import Process

START_SECONDS = 60.0  # after a crash the server first reads its log again
STOP_SECONDS = 10.0  # then it is killed; both servers recover from that
# Neither wheel's server can report that it is ready (that needs systemd's libraries), so it is asked.
ASK_EVERY_SECONDS = 0.02


class EmbeddedServer(ABC):
    """A server with all its files in `directory`, which is made, mode 0700."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._port: int | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Its address with the password; available after `initialise`."""

    @abstractmethod
    def initialise(self) -> None:
        """Make what is missing in the directory. It waits for an earlier server that is still shutting down.

        Raises:
            StackError: something cannot be made; the message says why.
        """

    @abstractmethod
    def process(self) -> Process:
        """The server as a child of this process; available after `initialise`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes commands now."""

    @property
    def lock(self) -> Path:
        """The file that the server's processes hold locked while any of them lives."""
        return self.directory / "lock"

    @property
    def port(self) -> int:
        """The port on loopback. It is stored in the directory; another one is taken if it is not free."""
        if self._port is None:
            self._port = port.stored_or_free(self.directory / "port")
        return self._port

    @property
    def password(self) -> str:
        """The password, which is stored in the directory. It needs no escaping in a URL."""
        return private_file.read_or_make(self.directory / "password", secrets.token_urlsafe)

    def command(self) -> list[str]:
        """The command that starts it so that it ends with this process; available after `initialise`."""
        return self.process().command()

    @contextmanager
    def running(self) -> Generator[Self]:
        """Run the server while the context is open; its output goes to `server.log` in the directory.

        Enter from the main thread: the server dies with the thread that starts it.

        Raises:
            StackError: it did not start.
        """
        self.initialise()
        log = self.directory / "server.log"
        with log.open("ab") as output:
            child = processes.start_alone(self.process(), output)
        try:
            self.await_answer(child, log)
            yield self
        finally:
            self._stop(child)

    def await_answer(self, child: subprocess.Popen[bytes], log: Path) -> None:
        """Wait until the started server takes commands.

        Raises:
            StartFailed: it ended, or 60 s have passed; the message has the end of its log.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if child.poll() is not None or time.monotonic() > deadline:
                raise StartFailed(f"{child.args!r} did not start:\n{tail(log)}")
            time.sleep(ASK_EVERY_SECONDS)

    def _stop(self, child: subprocess.Popen[bytes]) -> None:
        child.send_signal(self.process().stop_signal)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
