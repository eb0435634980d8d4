"""A supervisor with dummy children, and everything that a test wants to know about it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.stack.processes_of import family

PROGRAM = Path(__file__).with_name("dummy_up.py")
ROOT = PROGRAM.parents[3]
READY_SECONDS = 120.0
AT_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes standard input the controlling terminal of its session and becomes the command of its arguments."""


class Up:
    """A running `up`."""

    def __init__(
        self, folder: Path, stop_timeout: float, env: Mapping[str, str], terminal: int | None
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.started = time.monotonic()
        at = [] if terminal is None else [sys.executable, "-c", AT_A_TERMINAL]
        command = [*at, sys.executable, str(PROGRAM), str(self.data), str(stop_timeout)]
        variables = {**os.environ, "DUMMY_FOLDER": str(folder), "PYTHONPATH": str(ROOT), **env}
        with (folder / "errors").open("a") as errors:
            self.process = subprocess.Popen(
                command,
                env=variables,
                stdin=terminal,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
                start_new_session=True,  # without a controlling terminal, wherever the tests run
            )
        self.lines: list[str] = []

    def until_ready(self) -> "Up":
        """Wait for the line `ready`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.startswith("ready "):
                return self
        pytest.fail(f"up ended:\n{self.errors}")

    @property
    def errors(self) -> str:
        """What it said to standard error."""
        return (self.folder / "errors").read_text()

    @property
    def notes(self) -> list[str]:
        """What the dummy children did."""
        return (self.folder / "notes").read_text().splitlines()

    @property
    def stack(self) -> dict[str, Any]:
        """`stack.json`."""
        content: dict[str, Any] = json.loads((self.data / "stack.json").read_text())
        return content

    @property
    def pids(self) -> dict[str, int]:
        """The pids in `stack.json`, by name."""
        return {entry["name"]: entry["pid"] for entry in self.stack["processes"]}

    def family(self) -> list[psutil.Process]:
        """All its descendants."""
        return family(self.process.pid)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(READY_SECONDS)


class Starter:
    """Starts stacks in one folder."""

    def __init__(self, folder: Path, ending: contextlib.ExitStack) -> None:
        self.folder = folder
        self._ending = ending

    def __call__(
        self, stop_timeout: float = 15.0, env: Mapping[str, str] | None = None, terminal: int | None = None
    ) -> Up:
        """Start one, at a terminal if its descriptor is given; it is killed at the end of the test."""
        up = Up(self.folder, stop_timeout, env or {}, terminal)
        self._ending.callback(self._clean, up)
        return up

    @staticmethod
    def _clean(up: Up) -> None:
        if up.process.poll() is None:
            up.end(signal.SIGKILL)
        assert up.process.stdout is not None
        up.process.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Generator[Starter]:
    """Starts `up` on the data directory of this test."""
    with contextlib.ExitStack() as ending:
        yield Starter(tmp_path, ending)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Up]:
    """An `up` that the tests of a module share; each must leave it whole."""
    with contextlib.ExitStack() as ending:
        yield Starter(tmp_path_factory.mktemp("running"), ending)().until_ready()
