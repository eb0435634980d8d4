"""The directory of a backfill: what is remembered there, and that one process works in it.

`.imagequeue.json` is replaced as a whole, so a process that is killed leaves the one before or the new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cli.backfill.exits import WrongUse
from imagequeue.media.durable import sync_directory

STATE_NAME = ".imagequeue.json"
LINES_NAME = ".imagequeue.lines.jsonl"
PART_PREFIX = ".imagequeue.part-"
MANIFEST_NAME = "manifest.csv"

_LOCK_NAME = ".imagequeue.lock"
_VERSION = 1


@dataclass(slots=True)
class RunState:
    """How far a backfill is. `terms` are the options that it was begun with.

    `agreed`: the user wants the batch, which may have been created. `cursor` is that of the last result whose
    images are here, and `manifest_bytes` how long the manifest is with its row: what is behind was not
    finished. `missing` images could not be downloaded.
    """

    source_sha256: str
    terms: dict[str, Any]
    idempotency_key: str = field(default_factory=lambda: f"backfill-{secrets.token_hex(16)}")
    clashing: list[int] | None = field(default_factory=list[int])
    file_id: str | None = None
    agreed: bool = False
    batch_id: str | None = None
    cursor: int = 0
    manifest_bytes: int = 0
    missing: int = 0

    def begin_again(self) -> None:
        """Read all results again; images that are here are not downloaded again."""
        self.cursor = self.manifest_bytes = self.missing = 0


class BackfillDirectory:
    """The directory, and the files in it that are the program's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = path / LINES_NAME
        self.manifest = path / MANIFEST_NAME

    def load(self) -> RunState | None:
        """What is remembered; None: nothing was begun here.

        Raises:
            WrongUse: it was written by another version.
        """
        return load_state(self.path)

    def save(self, state: RunState) -> None:
        """Remember this, durably."""
        text = json.dumps({"version": _VERSION, **asdict(state)})
        self.replace(self.path / STATE_NAME, text.encode())

    def forget(self) -> None:
        """Begin anew the next time: nothing was made of the file."""
        (self.path / STATE_NAME).unlink(missing_ok=True)
        self.lines.unlink(missing_ok=True)

    def replace(self, target: Path, content: bytes) -> None:
        """Write a file that is there as a whole or as it was before."""
        part = self.path / f"{PART_PREFIX}{secrets.token_hex(8)}"
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        sync_directory(self.path)

    def sweep(self) -> None:
        """Remove what a killed process has left half written."""
        for part in self.path.glob(f"{PART_PREFIX}*"):
            part.unlink(missing_ok=True)


def load_state(directory: Path) -> RunState | None:
    """What is remembered in a directory; None: nothing.

    Raises:
        WrongUse: it was written by another version.
    """
    try:
        read: Mapping[str, Any] = json.loads((directory / STATE_NAME).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise WrongUse(f"{directory / STATE_NAME} is not this program's") from None
    if read.get("version") != _VERSION:
        raise WrongUse(f"{directory / STATE_NAME} was written by another version of this program")
    return RunState(**{one.name: read[one.name] for one in fields(RunState)})


@contextmanager
def backfill_directory(path: Path) -> Generator[BackfillDirectory]:
    """The directory, made if need be; nobody else works in it while the context is open.

    Raises:
        WrongUse: it cannot be written to, or another process works in it, which the message names.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise WrongUse(f"--out {path}: {error.strerror or error}") from None
    try:
        _take(lock, path)
        directory = BackfillDirectory(path)
        directory.sweep()
        yield directory
    finally:
        os.close(lock)


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "another"
        raise WrongUse(f"--out {path}: process {holder} works there already") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
