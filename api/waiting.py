"""Waiting for the end of an accepted job, within the answer to its submit.

A client that waits costs a connection and two small tasks: no thread and no query. The watch wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request

from api.requests import find_job
from api.services import services_of
from api.watch import Watcher, watch_of
from imagequeue.domain.errors import StillRunning
from imagequeue.lifecycle.submit.submission import Accepted


@dataclass(frozen=True, slots=True)
class JobWait:
    """A client that waits for its job, for `seconds`; would a repeat of its submit join the same job?"""

    request: Request
    account_id: UUID
    accepted: Accepted
    seconds: float
    repeat_joins: bool

    async def until_final(self) -> None:
        """Wait until the job is final.

        Raises:
            StillRunning: it is not in time, this process ends, or the client has gone away; the job goes on.
        """
        if self.accepted.replayed and await self._is_final():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds), self._watching() as watcher:
                while (event := await watcher.next()) is not None:
                    if event.status.is_final:
                        return
        message = f"The job goes on: ask for the status of {self.accepted.request_id}"
        raise StillRunning(message, repeat_joins=self.repeat_joins)

    @asynccontextmanager
    async def _watching(self) -> AsyncGenerator[Watcher]:
        """Watch the job until the client goes away."""
        with watch_of(self.request).watching(self.accepted.job_id, 0) as watcher:
            leaving = asyncio.create_task(self._end_with_the_client(watcher))
            try:
                yield watcher
            finally:
                leaving.cancel()

    async def _end_with_the_client(self, watcher: Watcher) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        watcher.end()

    async def _is_final(self) -> bool:
        """Whether a job is over that an earlier submit made: its events may be gone."""
        job = await find_job(services_of(self.request), self.accepted.job_id)
        return job is not None and job.status.is_final
