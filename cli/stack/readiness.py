"""When a stack is ready: the API answers so, and the dispatcher and the workers have sent heartbeats."""

import asyncio
from collections.abc import Callable, Collection

import httpx

# Other processes become ready and send no event about it, so they are asked; that costs them under 1 ms.
_LOOK_EVERY_SECONDS = 0.05
_HTTP_OK = 200
_ANSWER_SECONDS = 5.0  # for one answer; then the API is asked again


async def until(question: Callable[[], bool]) -> None:
    """Ask `question` in a thread until it says yes."""
    while not await asyncio.to_thread(question):  # noqa: ASYNC110 -- there is no event to wait for
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def until_api_ready(api_url: str) -> None:
    """Ask `GET /readyz` until it answers 200."""
    async with httpx.AsyncClient(base_url=api_url, trust_env=False, timeout=_ANSWER_SECONDS) as client:
        while not await _ready(client):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == _HTTP_OK
    except httpx.HTTPError:
        return False


def beating_pids(running: Collection[tuple[str, int]]) -> list[int]:
    """The pids of the processes that write heartbeats."""
    return [pid for name, pid in running if name.startswith(("dispatcher", "worker"))]
