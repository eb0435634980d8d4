"""A lock that a process and all its descendants hold together, until the last of them has ended.

flock(2) locks belong to the open file, not to a process, and a forked process shares its parent's open files.
A server is started with the locked file among its inherited descriptors, and so are the processes that it
forks itself (Postgres has one for each connection). The next process that gets the lock therefore knows that
all of them have ended. No pid has to be stored, none can be mistaken for a later process with the same
number, and no permission to see other processes is needed. A supervisor waits for a Postgres that is still
shutting down, and a `postmaster.pid` that is found under the lock is stale.
"""

import fcntl
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cli.stack.supervisor.errors import DirectoryInUse

PATIENCE_SECONDS = 30.0
"""How long a lock is waited for: a Postgres with much to write takes seconds to shut down."""


@contextmanager
def holding(path: Path, seconds: float = PATIENCE_SECONDS) -> Generator[int]:
    """Lock `path` and give the descriptor to pass on; children that inherited it go on holding the lock.

    Raises:
        DirectoryInUse: others still hold it after `seconds`.
    """
    descriptor = acquire(path, seconds)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def acquire(path: Path, seconds: float = PATIENCE_SECONDS) -> int:
    """Lock `path`, waiting at most `seconds`, and return the descriptor, which the caller closes.

    Raises:
        DirectoryInUse: others still hold it after `seconds`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _locked_at_once(descriptor) or (seconds > 0 and _locked_within(descriptor, seconds)):
        return descriptor
    if seconds <= 0:
        os.close(descriptor)
    raise DirectoryInUse(
        f"Another process still works on {path.parent}; it did not end within {seconds:g} s."
    )


def _locked_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_within(descriptor: int, seconds: float) -> bool:
    """A thread waits, because flock has no timeout; a thread that gets the lock too late closes it."""
    turn = threading.Lock()
    taken, given_up = threading.Event(), threading.Event()

    def lock() -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with turn:
            if given_up.is_set():
                os.close(descriptor)
            taken.set()

    threading.Thread(target=lock, daemon=True, name="inherited lock").start()
    taken.wait(seconds)
    with turn:
        if not taken.is_set():
            given_up.set()
        return not given_up.is_set()
