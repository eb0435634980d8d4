"""Foreign traffic: calls of another client on the same quota, at an even rate."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from simulator.config import quota_name
from simulator.state import Simulator


class ForeignRequest(BaseModel):
    """Foreign calls on the quota of a model, at `share` of its rate (0.3: 30 % of rpm)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstream: str
    model: str
    share: float = Field(gt=0, le=10)


@dataclass(frozen=True, slots=True)
class _Stream:
    request: ForeignRequest
    task: asyncio.Task[None]


class ForeignTraffic:
    """All streams of foreign calls; each is a task that lives until it is stopped."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._streams: dict[tuple[str, str], _Stream] = {}

    def start(self, request: ForeignRequest) -> None:
        """Start, or replace, the stream on one model; raises KeyError for an unknown upstream or model."""
        model = self._simulator.config.upstreams[request.upstream].models[request.model]
        if model.rpm == 0:
            raise KeyError(f"{request.model} has no quota to use")
        key = (request.upstream, request.model)
        old = self._streams.pop(key, None)
        if old is not None:
            old.task.cancel()
        quota = quota_name(request.upstream, request.model, model)
        interval = model.window_seconds / (model.rpm * request.share)
        task = asyncio.create_task(self._run(request, quota, interval))
        self._streams[key] = _Stream(request, task)

    def running(self) -> list[ForeignRequest]:
        """The streams that run."""
        return [stream.request for stream in self._streams.values()]

    async def stop(self) -> None:
        """End all streams."""
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stream.task

    async def _run(self, request: ForeignRequest, quota: str, interval: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self.run_once(request, quota)
            due += interval
            await asyncio.sleep(due - loop.time())

    def run_once(self, request: ForeignRequest, quota: str) -> None:
        """Make one foreign call, which takes a place or is throttled. The log has it as `foreign`."""
        moment = self._simulator.quotas[quota].admit()
        self._simulator.log.append(
            upstream=request.upstream,
            provider=self._simulator.config.upstreams[request.upstream].provider,
            model=request.model,
            quota=quota,
            operation="foreign",
            monotonic_ns=time.monotonic_ns() if moment is None else moment,
            wall_time=datetime.now(UTC).isoformat(),
            outcome="throttled" if moment is None else "admitted",
            status=429 if moment is None else 200,
            fault=None,
            fault_stage=None,
            prompt=None,
            image_count=None,
            reference=uuid4().hex,
        )
