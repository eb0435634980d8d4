"""The simulator's whole state: upstreams, quotas, log, faults, files, jobs."""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from simulator.callbacks import Callbacks
from simulator.config import ModelConfig, SimulatorConfig, UpstreamConfig
from simulator.faults import FaultBook
from simulator.jobs import JobShelf
from simulator.log import CallLog
from simulator.media import MediaShelf
from simulator.quota import SlidingLog, nanoseconds

PAINTERS = 2
READERS = 2
"""Threads for each kind of slow work: the cores of a small machine."""
QUICK_BODY_BYTES = 16 * 1024
"""A body of at most this size has no input image, and is read in well under a millisecond."""

Result = TypeVar("Result")


class Simulator:
    """One simulator. It belongs to one event loop; only the methods `..._beside` run in other threads."""

    def __init__(self, config: SimulatorConfig, log_path: Path | None = None) -> None:
        self.config = config
        self.log = CallLog(log_path)
        self.faults = FaultBook(config.seed)
        self.media = MediaShelf()
        self.jobs = JobShelf()
        self.callbacks = Callbacks()
        self.quotas: dict[str, SlidingLog] = {}
        # Latencies should be the same in every run; nothing secret depends on them.
        self._random = random.Random(config.seed)  # noqa: S311
        self._painters = ThreadPoolExecutor(PAINTERS, thread_name_prefix="painter")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._build_quotas()

    def upstream(self, name: str) -> UpstreamConfig | None:
        """The upstream of this name."""
        return self.config.upstreams.get(name)

    def replace_upstream(self, name: str, upstream: UpstreamConfig) -> None:
        """Add or change an upstream; raises ValidationError if the whole no longer fits together.

        What was admitted stays counted, under the new rpm and window.
        """
        upstreams = {**self.config.upstreams, name: upstream}
        self.config = SimulatorConfig(upstreams=upstreams, seed=self.config.seed)
        self._build_quotas()

    def reset(self) -> None:
        """Forget faults, entries, quotas, files, jobs and their callbacks; the configuration stays."""
        self.faults.clear()
        self.log.reset()
        self.media.clear()
        self.jobs.clear()
        self.callbacks.cancel()
        self.quotas.clear()
        self._build_quotas()

    def draw_seconds(self, range_ms: tuple[float, float]) -> float:
        """A duration in seconds, uniformly from a range in milliseconds."""
        return self._random.uniform(*range_ms) / 1000

    async def paint_beside(self, function: Callable[[], Result]) -> Result:
        """Run `function`, which paints images, in a thread beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._painters, function)

    async def read_beside(self, function: Callable[[], Result], size: int) -> Result:
        """Run `function`, which reads a request of `size` bytes; in a thread if that is large.

        Painting has other threads. Reading comes before admission, and calls that their client had spaced
        would bunch up there if they waited for the painting of earlier ones.
        """
        if size <= QUICK_BODY_BYTES:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._readers, function)

    async def report_beside(self, function: Callable[[], Result]) -> Result:
        """Run `function`, which makes a report, in a thread, so that it does not change what is measured."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, function)

    def close(self) -> None:
        """Close the log and the threads."""
        self.log.close()
        self._painters.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _build_quotas(self) -> None:
        # Quotas that are no longer configured stay, because a call that is being read may need one of them.
        for name, upstream in self.config.upstreams.items():
            for quota, config in upstream.quotas(name).items():
                self.quotas[quota] = self._sliding_log(quota, config)

    def _sliding_log(self, quota: str, config: ModelConfig) -> SlidingLog:
        # A time in the future was written before this machine was last started: its clock began anew then.
        now = time.monotonic_ns()
        admitted = [moment for moment in self.log.admitted_ns(quota) if moment <= now]
        return SlidingLog(config.rpm, nanoseconds(config.window_seconds), time.monotonic_ns, admitted)
