"""Which processes are alive, and when they are not any more."""

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

GONE_WITHIN_SECONDS = 120.0


def family(pid: int) -> list[psutil.Process]:
    """The descendants of `pid`, however deep."""
    return psutil.Process(pid).children(recursive=True)


def server_in(folder: Path) -> psutil.Process:
    """This process's child that works in `folder`, as both servers do in that of their data."""
    (found,) = [process for process in psutil.Process().children() if Path(process.cwd()) == folder.resolve()]
    return found


def listening_on(process: psutil.Process) -> list[tuple[str, int]]:
    """The addresses and ports where `process` listens."""
    return [(c.laddr.ip, c.laddr.port) for c in process.net_connections() if c.status == psutil.CONN_LISTEN]


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of `processes` that have not ended within 20 s; waits on the processes themselves."""
    _gone, alive = psutil.wait_procs(processes, timeout=GONE_WITHIN_SECONDS)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def python(*arguments: str) -> Generator[subprocess.Popen[str]]:
    """A Python process with its output as text in a pipe, killed at the end if it is still there."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
