"""The stack under test: `imagequeue up`, and a record of which of its processes ran when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120.0
"""Most that a start may take: it makes a database cluster, on a busy machine."""
WORKERS = 2
"""Worker processes for each queue."""
CONCURRENCY = 24
"""Worker slots of each."""
STOP_SECONDS = 60.0
"""Most that a stop may take before the supervisor is killed; it gives its processes 20 s."""
_LOOK_SECONDS = 0.1
"""Between two looks at the running processes: how exactly the end of a process is known."""


@dataclass(slots=True)
class Life:
    """One process of the stack, and when it was last seen alive (seconds since the epoch)."""

    name: str
    pid: int
    last: float


class StackDown(Exception):
    """The stack did not start, or printed no key."""


class Stack:
    """`imagequeue up` on a data directory of its own. `lives` are its processes, by name and pid."""

    def __init__(self, directory: Path, catalog: Path, environment: Mapping[str, str]) -> None:
        self.data = directory / "data"
        self.output = directory / "up.out"
        self.lives: dict[tuple[str, int], Life] = {}
        self._command = [sys.executable, "-P", "-m", "cli", "up", "--port", "0", "--data-dir", str(self.data)]
        self._command += ["--catalog", str(catalog), "--workers", str(WORKERS), "--api-workers", "2"]
        self._command += ["--concurrency", str(CONCURRENCY), "--stop-timeout", "20"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEQUEUE_")}
        self._environment = {**inherited, **environment, "PYTHONPATH": str(ROOT)}
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Self:
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                self._command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self._watch.start()
        try:
            self._await_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def alive(self) -> bool:
        """Whether the supervisor runs."""
        return self._process.poll() is None

    def file(self) -> dict[str, Any]:
        """The content of `stack.json`, by which other programs find the stack."""
        return json.loads((self.data / "stack.json").read_text())

    def running(self) -> dict[str, int]:
        """The pid of each process that runs now, by name."""
        return {str(one["name"]): int(one["pid"]) for one in self.file()["processes"]}

    def key(self) -> str:
        """The API key that `up` made and printed at its first start."""
        for line in self.output.read_text().splitlines():
            if line.startswith("key "):
                return line.split()[1]
        raise StackDown("no key was printed")

    def open_account(self, name: str, funds_usd: str = "0") -> str:
        """Open an account, and return its API key."""
        answer = subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-P", "-m", "cli", "keys", "create", name, "--funds", funds_usd, "--json"],
            env={**self._environment, **self.file()["env"]},
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
        )
        return str(json.loads(answer.stdout)["key"])

    def logged(self) -> list[dict[str, Any]]:
        """Every structured line that the stack's processes logged, oldest first."""
        lines = list[dict[str, Any]]()
        for path in sorted((self.data / "logs").glob("*.log*")):
            for line in path.read_bytes().splitlines():
                if line.startswith(b'{"'):
                    try:
                        lines.append(json.loads(line) | {"log": path.name})
                    except ValueError:
                        continue  # a killed process may leave half a line
        return sorted(lines, key=lambda line: str(line.get("timestamp", "")))

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while b"\nready " not in self.output.read_bytes():
            if not self.alive or time.monotonic() > deadline:
                raise StackDown(f"the stack did not start:\n{self.output.read_text()[-2000:]}")
            time.sleep(_LOOK_SECONDS)

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                running = self.running()
            except (OSError, ValueError):
                continue  # it is not written yet
            now = time.time()
            for name, pid in running.items():
                self.lives.setdefault((name, pid), Life(name, pid, now)).last = now
