"""The folder in which a stack stores everything, and the lock that admits one stack at a time to it."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cli.stack.supervisor import inherited_lock
from cli.stack.supervisor.errors import DirectoryInUse


class DataDirectory:
    """Paths below `path`, which is made absolute; `prepare` makes the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.postgres = self.path / "postgres"
        self.redis = self.path / "redis"
        self.logs = self.path / "logs"
        self.media = self.path / "media"
        self.spill = self.path / "spill"
        self.secret_key = self.path / "secret.key"
        self.stack_file = self.path / "stack.json"
        self.catalog = self.path / "simulator.toml"
        self.simulator_port = self.path / "simulator.port"
        self._lock = self.path / "lock"
        self._locks = self.path / "locks"

    @contextmanager
    def held(self) -> Generator[None]:
        """Make the folder and lock it, so that no other stack runs on it.

        It waits until the processes of a stack whose supervisor was killed have ended.

        Raises:
            DirectoryInUse: another supervisor runs on it.
        """
        self._prepare()
        descriptor = self._take()
        try:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            self._await_orphans()
            yield
        finally:
            os.close(descriptor)

    def lock_of(self, name: str) -> Path:
        """The file that the process called `name` holds locked while it lives."""
        return self._locks / name

    def _prepare(self) -> None:
        """Make the folders. One that holds other files keeps its mode: each file of the stack is private."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock.exists() or not any(self.path.iterdir()):
            self.path.chmod(0o700)
        self._locks.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.media, self.spill):
            if folder.is_dir():
                folder.chmod(0o700)  # an earlier version made them for everybody to list

    def _take(self) -> int:
        try:
            return inherited_lock.acquire(self._lock, 0)
        except DirectoryInUse:
            pid = self._lock.read_text(encoding="ascii").strip()
            refusal = f"`imagequeue up` already runs on {self.path} (pid {pid})."
            raise DirectoryInUse(f"{refusal} Stop it, or choose another --data-dir.") from None

    def _await_orphans(self) -> None:
        for lock in self._locks.iterdir():
            os.close(inherited_lock.acquire(lock))
