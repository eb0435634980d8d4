"""When a stack is ready: the API says so, and dispatcher and workers have shown that they live."""

import asyncio
from collections.abc import Callable, Collection

import httpx

# What becomes ready are other processes, which cannot tell; a look costs them under a millisecond.
_LOOK_EVERY_SECONDS = 0.05
_HTTP_OK = 200
_ANSWER_SECONDS = 5.0


async def until(question: Callable[[], bool]) -> None:
    """Ask `question` in a thread until it says yes."""
    while not await asyncio.to_thread(question):  # noqa: ASYNC110 -- nothing in this process knows
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def until_api_ready(api_url: str) -> None:
    """Ask `GET /readyz` until it answers 200."""
    async with httpx.AsyncClient(base_url=api_url, trust_env=False, timeout=_ANSWER_SECONDS) as client:
        while not await _ready(client):  # noqa: ASYNC110 -- likewise
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == _HTTP_OK
    except httpx.HTTPError:
        return False


def beating_pids(running: Collection[tuple[str, int]]) -> list[int]:
    """The pids of the processes that write heartbeats."""
    return [pid for name, pid in running if name.startswith(("dispatcher", "worker"))]
