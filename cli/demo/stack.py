"""The demo's own stack: `imagequeue up` as a child, on free ports and in a temporary folder."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cli.demo.deadline import DemoDeadline
from cli.demo.errors import DemoFailed
from cli.stack.data_directory import DataDirectory
from cli.stack.supervisor.logs import tail
from cli.stack.supervisor.run_as import with_pdeathsig
from imagequeue.programs import IMAGEQUEUE

SIMULATOR_RPM = 60
"""Calls a minute of each deployment. At ten a second the two cheapest ones would take all jobs that a busy
machine submits within a second, and the tour would never reach the others."""

STOP_SECONDS = 20.0
"""How long the stack may take to stop; its own `--stop-timeout` is 15."""


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        api_url: where the API answers.
        env: the environment variables for commands on this stack.
    """

    api_url: str
    env: Mapping[str, str]

    def command(self, *words: str, seconds: float) -> Any:
        """Run `imagequeue WORDS...` on this stack and read its JSON.

        Raises:
            DemoFailed: the command failed, or took longer than `seconds`.
        """
        try:
            done = subprocess.run(  # noqa: S603  # our own program
                [*IMAGEQUEUE, *words],
                env={**os.environ, **self.env},
                capture_output=True,
                text=True,
                timeout=seconds,
                check=True,
            )
        except subprocess.CalledProcessError as failed:
            raise DemoFailed(f"`imagequeue {' '.join(words)}`: {failed.stderr.strip()}") from None
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"`imagequeue {' '.join(words)}` took over {seconds:.0f} s") from None
        return json.loads(done.stdout)


@contextmanager
def running(directory: Path, variables: Mapping[str, str], deadline: DemoDeadline) -> Generator[Stack]:
    """Start a stack in `directory`, wait until it is ready, stop it at the end.

    It gets none of the user's settings, so a demo never uses another database.

    Raises:
        DemoFailed: it did not start in time, or did not stop cleanly.
    """
    with _started(directory, variables) as process:
        try:
            _until_ready(process, deadline)
            content = json.loads(DataDirectory(directory).stack_file.read_text(encoding="utf-8"))
            yield Stack(content["api_url"], content["env"])
        except BaseException:
            with suppress(DemoFailed):  # the first error is the one to report
                _stop(process)
            raise
        _stop(process)


def log_tails(directory: Path) -> str:
    """The last lines of every log of a stack, which may say why it failed."""
    paths = [directory / "up.log", *sorted((directory / "logs").glob("*.log"))]
    tails = [(path.name, tail(path)) for path in paths if path.is_file()]
    return (
        "\n".join(f"--- {name}\n{text}" for name, text in tails if text) or "--- no process has logged a line"
    )


@contextmanager
def _started(directory: Path, variables: Mapping[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """Start `up` in a session of its own: a Ctrl-C reaches the demo alone, which then stops the stack."""
    rpm = ("--simulator-rpm", str(SIMULATOR_RPM))
    words: Sequence[str] = (*IMAGEQUEUE, "up", "--port", "0", *rpm, "--data-dir", str(directory))
    outside = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEQUEUE_")}
    with (directory / "up.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own program
            with_pdeathsig(words, orphan_signal=signal.SIGTERM),
            env={**outside, **variables, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    with process:
        yield process


def _until_ready(process: subprocess.Popen[bytes], deadline: DemoDeadline) -> None:
    """Read what `up` prints until it prints `ready`. Its key is not used."""
    output = process.stdout
    assert output is not None  # noqa: S101  # it was asked for
    seen = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while b"\nready " not in b"\n" + seen:
            if not selector.select(deadline.left("`imagequeue up` to be ready")):
                continue
            seen += _read(output)


def _read(output: IO[bytes]) -> bytes:
    piece = os.read(output.fileno(), 4096)
    if not piece:
        raise DemoFailed("`imagequeue up` ended before it was ready")
    return piece


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise DemoFailed(f"The stack did not stop within {STOP_SECONDS:.0f} s") from None
    if code != 0:
        raise DemoFailed(f"`imagequeue up` ended with {code}")
