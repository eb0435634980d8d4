"""One process, started again whenever it ends, until it is stopped.

Nothing here polls. The end of a process makes its pidfd readable (pidfd_open(2)), which wakes the event loop;
the pause before a restart ends early when the child is to stop.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

from cli.stack.supervisor import inherited_lock
from cli.stack.supervisor import process as processes
from cli.stack.supervisor.backoff import Backoff
from cli.stack.supervisor.errors import DirectoryInUse, StartFailed
from cli.stack.supervisor.logs import Logs
from cli.stack.supervisor.process import Process

GIVE_UP_AFTER = 5
"""Failures in a row before the stack was ready: a program that cannot start is reported after about 1 s."""

_LAST_SECONDS = 1.0  # between the signal of `finish` and SIGKILL: time to write, not to finish calls
_LOCK_SECONDS = 5.0  # for one wait for the lock; an earlier process that shuts down usually takes less


class Child:
    """Keeps `process` running.

    Args:
        process: what to run.
        logs: where its output goes.
        changed: called after each start and each end.
        report: called with a line for the user after each end that the supervisor did not cause.
        settled: whether the stack has been ready. Until then, `run` raises `StartFailed` when the process
            ends by itself with an error five times in a row, because no restart cures that. A process that
            was killed is always started again.
    """

    def __init__(
        self,
        process: Process,
        logs: Logs,
        *,
        changed: Callable[[], None],
        report: Callable[[str], None],
        settled: Callable[[], bool],
    ) -> None:
        self.process = process
        self.pid: int | None = None
        self._logs = logs
        self._changed = changed
        self._report = report
        self._settled = settled
        self._backoff = Backoff()
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def name(self) -> str:
        """The name of the process."""
        return self.process.name

    async def run(self) -> None:
        """Start the process, and again whenever it ends, until `stop`.

        Raises:
            StartFailed: it kept failing before the stack was settled.
        """
        try:
            while not self._stopping.is_set():
                started = time.monotonic()
                code = await self._live()
                await self._pause(code, time.monotonic() - started)
        finally:
            self._over.set()

    async def run_once(self) -> None:
        """Run the process to its end.

        Raises:
            StartFailed: it ended with another code than 0.
        """
        try:
            code = await self._live()
        finally:
            self._over.set()
        if code != 0 and not self._stopping.is_set():
            raise StartFailed(f"{self.name} {_ending(code)}:\n{self._logs.tail(self.name)}")

    def ask_to_stop(self) -> None:
        """Send the stop signal; the process is not started again."""
        self._stopping.set()
        self._send(self.process.stop_signal)

    async def over(self) -> None:
        """Return when it has ended for good."""
        await self._over.wait()

    async def finish(self) -> None:
        """End it by force: send its orphan signal, and one second later SIGKILL."""
        self._send(self.process.orphan_signal)
        try:
            await asyncio.wait_for(self._over.wait(), _LAST_SECONDS)
        except TimeoutError:
            self._send(signal.SIGKILL)
            await self._over.wait()

    async def _live(self) -> int:
        """Run the process once; its exit code, negative for a signal."""
        try:
            child = self._start(await asyncio.to_thread(self._lock_and_clear))
        except (DirectoryInUse, OSError, subprocess.SubprocessError) as refused:
            self._report(f"{self.name}: {refused}")
            return 1
        return 0 if child is None else await self._end_of(child)

    def _lock_and_clear(self) -> int:
        """Wait for the lock, then mend what an earlier process has left; the descriptor of the lock."""
        held = inherited_lock.acquire(self.process.lock, _LOCK_SECONDS)
        try:
            self.process.clear()
        except BaseException:
            os.close(held)
            raise
        return held

    def _start(self, held: int) -> subprocess.Popen[bytes] | None:
        try:
            if self._stopping.is_set():
                return None
            with self._logs.open(self.name) as output:
                return processes.start(self.process, output, held)
        finally:
            os.close(held)

    async def _end_of(self, child: subprocess.Popen[bytes]) -> int:
        self.pid = child.pid
        self._changed()
        await _ended(child)
        self.pid = None
        code = child.wait()
        if not self._stopping.is_set():
            self._changed()
        return code

    async def _pause(self, code: int, lived_seconds: float) -> None:
        if self._stopping.is_set():
            return
        delay = self._backoff.after(lived_seconds)
        if code > 0 and not self._settled() and self._backoff.failures >= GIVE_UP_AFTER:
            raise StartFailed(f"{self.name} {_ending(code)} again and again:\n{self._logs.tail(self.name)}")
        self._report(
            f"{self.name} {_ending(code)}; starting it again" + (f" in {delay:g} s" if delay else "")
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)  # not reaped yet, so the pid is still this child's


async def _ended(child: subprocess.Popen[bytes]) -> None:
    """Return when `child` has ended; it is not reaped."""
    descriptor = os.pidfd_open(child.pid)
    loop = asyncio.get_running_loop()
    end = loop.create_future()
    loop.add_reader(descriptor, lambda: end.done() or end.set_result(None))
    try:
        await end
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    return f"was ended by {signal.Signals(-code).name}"
