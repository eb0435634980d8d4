"""The processes of a stack besides its servers: their names, commands and environment."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cli.stack.data_directory import DataDirectory
from cli.stack.options import Options
from cli.stack.supervisor.process import Process
from imagequeue.programs import IMAGEQUEUE

QUEUES = ("generate.interactive", "generate.backfill", "deliveries")

VALIDATED = "backfills"
"""The queue of the process that validates the files of batches; one is enough for a stack."""


@dataclass(frozen=True)
class Processes:
    """Makes the processes of one stack.

    Attributes:
        data: where their locks are.
        env: the variables of the stack; those of the supervisor are passed on as well.
        program: the words before the name of the command and its arguments.
    """

    data: DataDirectory
    env: Mapping[str, str]
    program: Sequence[str] = IMAGEQUEUE

    def migrate(self) -> Process:
        """Brings the schema up to date, then ends."""
        return self._command("migrate", "migrate")

    def simulator(self, port: int) -> Process:
        """The upstreams of the built-in catalog."""
        return self._command("simulator", "simulator", "--port", str(port))

    def application(self, options: Options, listener: int, gate: int) -> list[Process]:
        """The api processes, which share the socket `listener`, the dispatcher, the workers of all queues.

        They connect to no server before the descriptor `gate` is at its end.
        """
        workers = [
            self._worker(queue, number, options.concurrency)
            for queue in QUEUES
            for number in range(1, options.workers + 1)
        ]
        processes = [
            *(self._api(number, listener) for number in range(1, options.api_workers + 1)),
            self._command("dispatcher", "dispatcher"),
            *workers,
            self._command("worker-backfills", "worker", "--queues", VALIDATED),
        ]
        return [_after(gate, process) for process in processes]

    def _api(self, number: int, listener: int) -> Process:
        return self._command(f"api-{number}", "api", "--fd", str(listener), descriptors=(listener,))

    def _worker(self, queue: str, number: int, concurrency: int) -> Process:
        name = f"worker-{queue.replace('.', '-')}-{number}"
        return self._command(name, "worker", "--queues", queue, "--concurrency", str(concurrency))

    def _command(self, name: str, *arguments: str, descriptors: tuple[int, ...] = ()) -> Process:
        return Process(
            name=name,
            argv=[*self.program, *arguments],
            env={**os.environ, **self.env, "PYTHONUNBUFFERED": "1"},
            lock=self.data.lock_of(name),
            pass_fds=descriptors,
        )


def _after(gate: int, process: Process) -> Process:
    """The same process, which waits at the gate."""
    return replace(process, argv=[*process.argv, "--after-fd", str(gate)], pass_fds=(*process.pass_fds, gate))
