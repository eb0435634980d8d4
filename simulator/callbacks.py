"""Upstream callbacks: a submit-and-poll upstream posts the final status body when a job has ended.

Only this machine is ever called, because a test may name the URL of a real server by mistake. A URL whose
host is no loopback address gets nothing, as if it could not be reached.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from simulator.jobs import Job
from simulator.quota import NANOSECONDS

PAUSES_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Before each attempt. The first attempt that is answered with 2xx is the last."""
ATTEMPT_SECONDS = 5.0
"""The most that one attempt may take, with the body of its answer."""
AT_ONCE = 16
"""The most attempts that are made at a time, so that a test with many jobs opens few connections."""


def is_of_this_machine(url: str) -> bool:
    """Whether the host of a URL is a loopback address."""
    host = urlsplit(url).hostname
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


class Callbacks:
    """The callbacks that are to be made. For one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    def schedule(self, job: Job, url: str, body: Callable[[], bytes]) -> None:
        """Post `body()` to the URL when the job has ended; a job that is stuck never ends."""
        if job.stuck or not is_of_this_machine(url):
            return
        task = asyncio.create_task(self._post_at_the_end(job, url, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel all callbacks."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Cancel all callbacks, and wait until none is being made."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _post_at_the_end(self, job: Job, url: str, body: Callable[[], bytes]) -> None:
        left = job.accepted_ns + job.duration_ns - time.monotonic_ns()
        await asyncio.sleep(max(0.0, left / NANOSECONDS))
        for pause in PAUSES_SECONDS:
            await asyncio.sleep(pause)
            async with self._places:
                if await _posted(url, body()):
                    return


async def _posted(url: str, body: bytes) -> bool:
    # An empty TLS context. Reading the machine's certificates would block the event loop and so change the
    # times in the log; they are not needed, because the URL is http and on this machine.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        client = httpx.AsyncClient(trust_env=False, verify=context)
        async with asyncio.timeout(ATTEMPT_SECONDS), client:
            answer = await client.post(url, content=body, headers={"content-type": "application/json"})
            return answer.is_success
    return False
