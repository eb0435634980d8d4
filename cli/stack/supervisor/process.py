"""One child as plain data, and how it is started."""

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cli.stack.supervisor import inherited_lock, run_as


def _nothing() -> None:
    """Clear nothing: most processes leave nothing behind."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """One child.

    Attributes:
        name: unique in its stack; the name of its log file and its entry in `stack.json`.
        argv: the program, an absolute path, and its arguments.
        env: its whole environment; None for the supervisor's own.
        lock: the file that it and its descendants hold locked while any of them lives (`inherited_lock`).
        clear: called under the lock before each start, in any thread; removes what a killed process has left.
        pass_fds: descriptors that it inherits under the same numbers.
        identity: as whom it runs (`exec_with_pdeathsig.py`).
        stop_signal: the signal that asks it to end.
        orphan_signal: the signal that the kernel sends it when the supervisor dies.
    """

    name: str
    argv: Sequence[str]
    lock: Path
    env: Mapping[str, str] | None = None
    clear: Callable[[], None] = _nothing
    pass_fds: Sequence[int] = ()
    identity: str = run_as.SAME
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL

    def command(self) -> list[str]:
        """The command that starts it so that it ends with the calling process (`run_as.with_pdeathsig`)."""
        return run_as.with_pdeathsig(self.argv, orphan_signal=self.orphan_signal, identity=self.identity)


def start(process: Process, output: IO[bytes], held: int) -> subprocess.Popen[bytes]:
    """Start `process` in a session of its own, so that a Ctrl-C in the terminal reaches the supervisor alone.

    `held` is the descriptor of its lock, which the caller has taken (`inherited_lock.acquire`). The caller
    has also called `clear`.
    """
    return subprocess.Popen(  # noqa: S603 -- the command is built here, of this installation's programs
        process.command(),
        env=process.env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=(held, *process.pass_fds),
        start_new_session=True,
    )


def start_alone(
    process: Process,
    output: IO[bytes],
    seconds: float = inherited_lock.PATIENCE_SECONDS,
) -> subprocess.Popen[bytes]:
    """Wait at most `seconds` for the lock of `process`, then start it.

    Raises:
        DirectoryInUse: an earlier process did not end in time.
    """
    with inherited_lock.holding(process.lock, seconds) as held:
        process.clear()
        return start(process, output, held)
