"""Clients that wait for their final job, and repeat a request without an answer under its key.

Each asks in its own dialect and holds its connection until the answer has come. Some hang up once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus

import httpx

from chaos.notes import Loss, Notes, Outage, Reply
from chaos.orders import Destination, Order
from chaos.waiting_kinds import KINDS, Ending

SILENT_SECONDS = 20.0
"""How long a client waits for the next byte. A stream has pings; any other client asks again and joins."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0
LOOK_SECONDS = 0.2
"""Between two looks at whether the run is over."""
_REPEATED = frozenset(
    {
        None,
        HTTPStatus.OK,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Statuses of replies that tell no end and are no fault: 200 is that of a stream which ends with an error;
408 comes where this process, on a busy machine, was too slow to send hundreds of requests at once."""
_NAMING = frozenset(
    {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}
)
"""Statuses of answers that are about a job, and name it."""


class WaitingClients:
    """The clients of those orders that wait, in one thread; `notes` are shared with other clients."""

    def __init__(self, destination: Destination, wanted: Sequence[Order], notes: Notes) -> None:
        self._destination = destination
        self._wanted = [order for order in wanted if order.waiting]
        self._notes = notes
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve_all()), name="waits", daemon=True
        )

    def start(self) -> None:
        """Let the clients begin."""
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait until every client has its answer; False: it took longer."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End clients that still wait for an answer."""
        self._over.set()
        self._thread.join()

    async def _serve_all(self) -> None:
        timeout = httpx.Timeout(SILENT_SECONDS, pool=None)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=self._destination.url, timeout=timeout, limits=limits, trust_env=False
        ) as client:
            waiting = {asyncio.create_task(self._serve(client, order)) for order in self._wanted}
            while waiting and not self._over.is_set():
                ended, waiting = await asyncio.wait(
                    waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in ended:
                    task.result()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _serve(self, client: httpx.AsyncClient, order: Order) -> None:
        """Ask until the job has ended."""
        await asyncio.sleep(order.due)
        replies = self._notes.waits.setdefault(order.key, [])
        pause, leaves = FIRST_PAUSE_SECONDS, order.leaves
        while True:
            reply = await self._ask(client, order, leaves)
            replies.append(reply)
            if reply.ending is not None and reply.request_id is not None:
                self._notes.answers += 1
                self._notes.acknowledged[order.key] = reply.request_id
                return
            if reply.status not in _REPEATED:
                self._notes.wrong.append(f"{order.key} ({order.waiting}): {reply.status}")
            self._notes.repeats += 1
            await asyncio.sleep(pause)
            pause, leaves = min(LONGEST_PAUSE_SECONDS, pause * 1.5), None

    async def _ask(self, client: httpx.AsyncClient, order: Order, leaves: float | None) -> Reply:
        """Make one request and wait for its answer, at most `leaves` seconds."""
        kind, began = KINDS[order.waiting], time.time()
        fields, head = kind.fields(order.prompt, order.images), httpx.Headers()
        try:
            async with (
                asyncio.timeout(leaves),
                client.stream("POST", kind.path, json=fields, headers=self._headers(order)) as answer,
            ):
                if answer.status_code in _NAMING:
                    head = answer.headers
                text = (await answer.aread()).decode(errors="replace")
                if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                    self._notes.outages.append(Outage(time.time(), text[:200]))
        except (httpx.HTTPError, TimeoutError) as error:
            return Reply(began, request_id=_named(head), lost=_loss(error))
        return Reply(
            began,
            answer.status_code,
            _named(head),
            joined=head.get("Idempotent-Replayed") == "true",
            ending=self._read(order, answer.status_code, text),
        )

    def _read(self, order: Order, status: int, text: str) -> Ending | None:
        try:
            return KINDS[order.waiting].read(status, text)
        except (ValueError, LookupError, TypeError) as error:
            self._notes.wrong.append(f"{order.key} ({order.waiting}): {error!r} in {text[:200]}")
            return None

    def _headers(self, order: Order) -> dict[str, str]:
        api_key = self._destination.api_keys[order.account]
        return self._destination.headers(order) | {"Authorization": f"Bearer {api_key}"}


def _loss(error: Exception) -> Loss:
    if isinstance(error, TimeoutError):
        return "hung up"
    return "silence" if isinstance(error, httpx.TimeoutException) else "broken off"


def _named(head: httpx.Headers) -> str | None:
    return head.get("X-Request-Id")
