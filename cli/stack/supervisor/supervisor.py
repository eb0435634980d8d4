"""All children of a stack: started in stages, kept running, stopped in the reverse order.

The supervisor holds no state that would be missed: everything is in Postgres, Redis and files, and children
die with it (`exec_with_pdeathsig`). It lives on one event loop in the main thread, because the kernel ties
children to the thread that forked them.
"""

import asyncio
from collections.abc import Callable, Sequence

from cli.stack.supervisor.child import Child
from cli.stack.supervisor.logs import Logs
from cli.stack.supervisor.process import Process

_TRIM_EVERY_SECONDS = 60.0
# When the stages, in the order of stopping, are ended by force, as parts of the whole time. The first has
# the processes that finish calls; what follows needs little, and Postgres, the last, gets what is left.
_FIRST_STAGE_UNTIL = 0.75
_LAST_STAGE_UNTIL = 0.9


class Supervisor:
    """Keeps processes running.

    Args:
        logs: where their output goes.
        report: called with a line for the user when a child ended unasked.
        changed: called with name and pid of what runs, after every start and end.
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

    def keep(self, *processes: Process) -> None:
        """Start a stage: processes that run side by side and are stopped together."""
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
        await asyncio.shield(life)  # who is cancelled here leaves the process to `stop`
        self._stages.remove(stage)

    def running(self) -> list[tuple[str, int]]:
        """Name and pid of each child that runs now, in the order of their start."""
        return [(child.name, child.pid) for stage in self._stages for child in stage if child.pid is not None]

    def hurry(self) -> None:
        """End what is still running at once: the user has asked to stop a second time."""
        self._hurry.set()

    async def trim_logs(self) -> None:
        """Keep the log files small, for ever."""
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
    """The part of the time after which stage `number`, in the order of stopping, is ended by force."""
    if stages == 1:
        return _LAST_STAGE_UNTIL
    return _FIRST_STAGE_UNTIL + (_LAST_STAGE_UNTIL - _FIRST_STAGE_UNTIL) * number / (stages - 1)
