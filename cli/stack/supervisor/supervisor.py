"""All children of a stack: started in stages, kept running, stopped in the reverse order.

The supervisor holds no state that a restart needs: everything is in Postgres, Redis and files, and its
children end with it (`exec_with_pdeathsig.py`). It runs on one event loop in the main thread, because the
kernel ends the children when the thread that forked them ends.
"""

import asyncio
from collections.abc import Callable, Sequence

from cli.stack.supervisor.child import Child
from cli.stack.supervisor.logs import Logs
from cli.stack.supervisor.process import Process

_TRIM_EVERY_SECONDS = 60.0  # in a minute no log grows by much more than its limit
# When the stages are ended by force, in the order of stopping, as shares of the time for the whole stop. The
# first stage has the processes that finish calls and needs most. The rest is for Postgres, which is the last.
_FIRST_STAGE_UNTIL = 0.75
_LAST_STAGE_UNTIL = 0.9


class Supervisor:
    """Keeps processes running.

    Args:
        logs: where their output goes.
        report: called with a line for the user after each end that the supervisor did not cause.
        changed: called with name and pid of each process that runs, after every start and end.
    """

    def __init__(
        self,
        logs: Logs,
        *,
        report: Callable[[str], None],
        changed: Callable[[Sequence[tuple[str, int]]], None],
    ) -> None:
        self.settled = False
        self._logs = logs
        self._report = report
        self._changed = changed
        self._stages: list[list[Child]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start_stage(self, *processes: Process) -> None:
        """Start processes that are to run until `stop`, and are stopped together."""
        stage = [self._child(process) for process in processes]
        self._stages.append(stage)
        for child in stage:
            task = asyncio.create_task(child.run(), name=child.name)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def run_once(self, process: Process) -> None:
        """Run `process` to its end; a stop ends it too.

        Raises:
            StartFailed: it failed.
        """
        child = self._child(process)
        stage = [child]
        self._stages.append(stage)
        life = asyncio.create_task(child.run_once(), name=child.name)
        self._tasks.add(life)
        life.add_done_callback(self._tasks.discard)
        await asyncio.shield(life)  # if this wait is cancelled, `stop` ends the process
        self._stages.remove(stage)

    def running(self) -> list[tuple[str, int]]:
        """Name and pid of each child that runs now, in the order of their start."""
        return [(child.name, child.pid) for stage in self._stages for child in stage if child.pid is not None]

    def hurry(self) -> None:
        """End what still runs by force: the user has asked to stop a second time."""
        self._hurry.set()

    async def trim_logs(self) -> None:
        """Trim the log files again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(_TRIM_EVERY_SECONDS)
            try:
                await asyncio.to_thread(self._logs.trim)
            except OSError as refused:
                self._report(f"The logs cannot be trimmed: {refused}")

    async def stop(self, seconds: float) -> None:
        """Stop every child within about `seconds`, the last stage first."""
        begin = asyncio.get_running_loop().time()
        stages = [stage for stage in reversed(self._stages) if stage]
        for number, stage in enumerate(stages):
            share = _until(number, len(stages))
            await self._stop_stage(stage, begin + seconds * share)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop_stage(self, stage: Sequence[Child], deadline: float) -> None:
        for child in stage:
            child.ask_to_stop()
        ends = asyncio.gather(*(child.over() for child in stage))
        hurry = asyncio.create_task(self._hurry.wait())
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.wait({ends, hurry}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not ends.done():
            await asyncio.gather(*(child.finish() for child in stage))
        await ends

    def _child(self, process: Process) -> Child:
        return Child(
            process,
            self._logs,
            changed=lambda: self._changed(self.running()),
            report=self._report,
            settled=lambda: self.settled,
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self.failure.done():
            self.failure.set_exception(error)


def _until(number: int, stages: int) -> float:
    """The share of the time after which stage `number`, in the order of stopping, is ended by force."""
    if stages == 1:
        return _LAST_STAGE_UNTIL
    return _FIRST_STAGE_UNTIL + (_LAST_STAGE_UNTIL - _FIRST_STAGE_UNTIL) * number / (stages - 1)
