"""Waiting for the end of an accepted job, within the answer to its submit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from api.requests import find_job
from api.services import ApiServices
from api.watch import Watch, Watcher
from imagequeue.domain.errors import StillRunning
from imagequeue.lifecycle.submit.submission import Accepted

WAIT_SECONDS = 300.0
"""Seconds for which a submit that waits is held open: a call may take 180, and waits for its start before."""


@dataclass(frozen=True, slots=True)
class JobWait:
    """A client that waits for its job; `repeat_joins`: a repeat of its submit would join the same job."""

    services: ApiServices
    watch: Watch
    accepted: Accepted
    repeat_joins: bool

    async def until_final(self, look_seconds: float = WAIT_SECONDS) -> AsyncGenerator[None]:
        """Wait until the job is final; yields whenever there was no news for `look_seconds`.

        Raises:
            StillRunning: it is not within `WAIT_SECONDS`, or this process ends; the job goes on.
        """
        if await self._is_final():
            return
        until = asyncio.get_running_loop().time() + WAIT_SECONDS
        with self.watch.watching(self.accepted.job_id, 0) as watcher:
            while (left := until - asyncio.get_running_loop().time()) > 0:
                try:
                    if await self._ends(watcher, min(left, look_seconds)):
                        return
                except TimeoutError:
                    yield
        raise self._still_running()

    async def _is_final(self) -> bool:
        """Whether a job is over that an earlier submit made: its events may be gone."""
        job = await find_job(self.services, self.accepted.job_id) if self.accepted.replayed else None
        return job is not None and job.status.is_final

    async def _ends(self, watcher: Watcher, patience: float) -> bool:
        event = await watcher.next(patience)
        if event is None:
            raise self._still_running()
        return event.status.is_final

    def _still_running(self) -> StillRunning:
        message = f"The job goes on: ask for the status of {self.accepted.request_id}"
        return StillRunning(message, repeat_joins=self.repeat_joins)
