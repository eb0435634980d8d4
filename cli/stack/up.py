"""`imagequeue up`: start a stack, keep it running, stop it when asked."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from cli.stack import plan, readiness
from cli.stack.console import Console
from cli.stack.data_directory import DataDirectory
from cli.stack.hangup import has_terminal
from cli.stack.hooks import Hooks
from cli.stack.options import Options
from cli.stack.plan import Plan
from cli.stack.processes import QUEUES, Processes
from cli.stack.stack_file import StackFile
from cli.stack.start_gate import StartGate
from cli.stack.supervisor.logs import Logs
from cli.stack.supervisor.supervisor import Supervisor
from imagequeue.programs import IMAGEQUEUE
from imagequeue.signals import on_signals_of_a_terminal


def up(
    options: Options,
    hooks: Hooks,
    console: Console,
    *,
    program: Sequence[str] = IMAGEQUEUE,
) -> None:
    """Run a stack until SIGTERM or SIGINT, or SIGHUP by its terminal. Call from the main thread.

    Args:
        options: the user's choices.
        hooks: the functions of the program.
        console: prints what the user shall know.
        program: the words that start a command of the program (`Processes.program`).

    Raises:
        StackError: the stack could not be started; every process that had been started has been stopped.
    """
    data = DataDirectory(options.data_dir)
    with data.held():
        data.stack_file.unlink(missing_ok=True)  # that of a supervisor which was killed
        console.report(f"data in {data.path}, logs in {data.logs}")
        made = plan.make(options, data, hooks)
        with closing(made.listener):
            hooks.check(made.env)
            commands = Processes(data, made.env, program)
            asyncio.run(_Run(options, hooks, console, made, commands).until_stopped())


class _Run:
    """One run of a stack, from its start until everything has stopped."""

    def __init__(
        self,
        options: Options,
        hooks: Hooks,
        console: Console,
        made: Plan,
        processes: Processes,
    ) -> None:
        self._options, self._hooks, self._plan, self._processes = options, hooks, made, processes
        self._console, self._report = console, console.report
        self._stack_file = StackFile(processes.data.stack_file, made.api_url, made.env)

    async def until_stopped(self) -> None:
        """Start everything; stop everything on a signal, or when something cannot be started."""
        self._gate = StartGate()
        self._supervisor = Supervisor(
            Logs(self._processes.data.logs), report=self._report, changed=self._changed
        )
        self._stop, self._hung_up, self._ready = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._watch_signals()
        starting = asyncio.create_task(self._start())
        beside = [asyncio.create_task(one) for one in (self._supervisor.trim_logs(), self._reload())]
        try:
            await self._first_of(starting)
        finally:
            for task in (starting, *beside):
                task.cancel()
            await asyncio.gather(starting, *beside, return_exceptions=True)
            await self._supervisor.stop(self._options.stop_timeout)
            self._stack_file.remove()
            self._gate.close()

    async def _first_of(self, starting: asyncio.Task[None]) -> None:
        """Return when a stop is asked for; raise when a start fails."""
        stop = asyncio.create_task(self._stop.wait())
        ends: set[asyncio.Future[Any]] = {stop, self._supervisor.failure}
        await asyncio.wait({starting, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self._supervisor.failure.done():
            await self._supervisor.failure

    async def _start(self) -> None:
        """Start all processes at once. Those of the program import while the servers start."""
        for server in self._plan.servers:
            self._supervisor.start_stage(server.process())
        if self._plan.simulator_port is not None:
            self._supervisor.start_stage(self._processes.simulator(self._plan.simulator_port))
        listener, gate = self._plan.listener.fileno(), self._gate.descriptor
        self._supervisor.start_stage(*self._processes.application(self._options, listener, gate))
        await self._until_servers_ready()
        self._gate.open()
        key = await asyncio.to_thread(self._hooks.first_key, self._plan.env)
        if key is not None:
            self._console.say(key)
        await self._until_ready()

    async def _until_servers_ready(self) -> None:
        """Wait until the servers answer and the schema is the newest."""
        await asyncio.gather(*(readiness.until(server.answers) for server in self._plan.servers))
        if not await asyncio.to_thread(self._hooks.schema_is_newest, self._plan.env):
            await self._supervisor.run_once(self._processes.migrate())

    async def _until_ready(self) -> None:
        await readiness.until_api_ready(self._plan.api_url)
        await readiness.until(self._all_beat)
        self._supervisor.settled = True
        self._ready.set()
        self._console.say(f"ready {self._plan.api_url}")

    async def _reload(self) -> None:
        """Ask all processes to reload the catalog at each SIGHUP, once the stack is ready."""
        await self._ready.wait()
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            self._report(await asyncio.to_thread(self._hooks.reload, self._plan.env))

    def _all_beat(self) -> bool:
        pids = readiness.beating_pids(self._supervisor.running())
        return len(pids) == self._beating and self._hooks.all_beat(self._plan.env, pids)

    @property
    def _beating(self) -> int:
        return 2 + len(QUEUES) * self._options.workers  # with the dispatcher and the validation

    def _changed(self, running: Sequence[tuple[str, int]]) -> None:
        try:
            self._stack_file.write(running)
        except OSError as refused:  # a full disk must stop no process
            self._report(f"{self._stack_file.path} cannot be written: {refused}")

    def _watch_signals(self) -> None:
        on_signals_of_a_terminal(
            asyncio.get_running_loop(),
            stop=self._asked_to_stop,
            hung_up=self._asked_to_stop if has_terminal() else lambda _: self._hung_up.set(),
        )

    def _asked_to_stop(self, number: int) -> None:
        del number
        if self._stop.is_set():
            self._supervisor.hurry()
            return
        self._report("stopping; a second signal kills what still runs")
        self._stop.set()
