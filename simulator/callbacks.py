"""Callbacks of submit-and-poll upstreams: the final status body, posted once its job has ended.

Only this machine is ever called: what a test forgot to change must reach nobody's server. So of a URL whose
host is no loopback address nothing comes, as if it could not be reached.
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
"""Before each try; the first that is answered with 2xx is the last."""
TRY_SECONDS = 5.0
"""So long a try may take, the answer's body included."""
AT_ONCE = 16
"""So many tries are under way at a time; the others wait."""


def is_of_this_machine(url: str) -> bool:
    """Is the URL's host a loopback address?"""
    host = urlsplit(url).hostname
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


class Callbacks:
    """All that are to come. For one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    def promise(self, job: Job, url: str, body: Callable[[], bytes]) -> None:
        """Post `body()` to the URL when the job has ended; a stuck one never does."""
        if job.stuck or not is_of_this_machine(url):
            return
        task = asyncio.create_task(self._keep(job, url, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self) -> None:
        """Take all promises back."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Take all promises back, and wait until nothing is under way."""
        self.forget()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, job: Job, url: str, body: Callable[[], bytes]) -> None:
        left = job.accepted_ns + job.duration_ns - time.monotonic_ns()
        await asyncio.sleep(max(0.0, left / NANOSECONDS))
        for pause in PAUSES_SECONDS:
            await asyncio.sleep(pause)
            async with self._places:
                if await _posted(url, body()):
                    return


async def _posted(url: str, body: bytes) -> bool:
    # An empty context: reading the machine's certificates would hold the event loop up, and with it the
    # times of the log. What this calls is on this machine, and speaks http.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        async with asyncio.timeout(TRY_SECONDS), httpx.AsyncClient(trust_env=False, verify=context) as client:
            answer = await client.post(url, content=body, headers={"content-type": "application/json"})
            return answer.is_success
    return False
