"""The ASGI application of all upstreams: finds the upstream and the route of a call, then serves it."""

import contextlib
import re
import time
from dataclasses import replace

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from simulator.call import Call, Upstream, new_reference, read_call
from simulator.connection import ClientGoneError, Connection
from simulator.faults import Fault, Target
from simulator.gate import decide, decide_unread
from simulator.images import paint
from simulator.media import StoredFile
from simulator.perform import interrupt, interrupt_unread, perform
from simulator.providers import PROVIDERS
from simulator.providers.provider import JobProvider, Refusal, Route
from simulator.state import Simulator
from simulator.wire import Answer, json_answer, send

_NAME = r"([0-9a-f]{32}\.(?:png|jpeg|webp))"
_FILE = re.compile(f"/files/{_NAME}")
_MOVED = re.compile(f"/moved/([1-9])/{_NAME}")
_MOVED_STATUSES = (302, 307, 301, 308, 303)


class Gateway:
    """All upstreams of one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def __call__(self, scope: Scope, receive: Receive, send_message: Send) -> None:
        """Serve one request."""
        name, path = _split(scope["path"])
        config = self._simulator.upstream(name)
        async with Connection(scope, receive, send_message) as connection:
            # Clients that leave are a part of many tests, and no answer can reach them.
            with contextlib.suppress(ClientGoneError):
                if config is None:
                    return await send(
                        connection, json_answer(404, {"error": f"no upstream is called {name!r}"})
                    )
                upstream = Upstream(name, config, PROVIDERS[config.provider])
                await self._dispatch(upstream, path, Request(scope), connection)
        return None

    async def _dispatch(
        self, upstream: Upstream, path: str, request: Request, connection: Connection
    ) -> None:
        file = _FILE.fullmatch(path)
        if file is not None and request.method == "GET":
            return await self._download(upstream, file.group(1), connection)
        moved = _MOVED.fullmatch(path)
        if moved is not None and request.method == "GET":
            return await send(connection, _moved(request, upstream, int(moved.group(1)), moved.group(2)))
        route = upstream.provider.route(request.method, path)
        if route is None:
            refusal = Refusal("unknown_route", f"{request.method} {path} does not exist")
            return await send(connection, upstream.provider.refuse(refusal))
        if route.operation == "poll":
            return await self._poll(upstream, route, request.headers, connection)
        base_url = f"{request.url.scheme}://{request.url.netloc}/{upstream.name}"
        call = Call(upstream, route, base_url, new_reference(route))
        return await self._call(call, request.headers, connection)

    async def _call(self, call: Call, headers: Headers, connection: Connection) -> None:
        unread = decide_unread(self._simulator, call)
        if unread is not None:
            answer = await interrupt_unread(unread, call.upstream.provider, connection)
            if answer is not None:
                return await send(
                    connection, replace(answer, headers={**answer.headers, "connection": "close"})
                )
        call = await read_call(self._simulator, call, headers, connection)
        await self._before_admission(call, connection)
        return await perform(self._simulator, decide(self._simulator, call), connection)

    async def _before_admission(self, call: Call, connection: Connection) -> None:
        config = call.model_config
        if config is not None:
            await connection.pause(self._simulator.draw_seconds(config.admission_jitter_ms))
        delay = self._simulator.faults.take_delay(call.target)
        if delay is not None:
            await connection.pause(delay.seconds)

    async def _poll(self, upstream: Upstream, route: Route, headers: Headers, connection: Connection) -> None:
        await connection.body()
        provider = upstream.provider
        if not provider.authorized(headers, upstream.config):
            refusal = Refusal("unauthorized", "invalid or missing credentials")
            return await send(connection, provider.refuse(refusal))
        job = self._simulator.jobs.get(upstream.name, route.reference or "")
        if job is None or not isinstance(provider, JobProvider):
            refusal = Refusal("unknown_route", "no request has this id")
            return await send(connection, provider.refuse(refusal))
        target = Target(upstream.name, "poll", job.model, job.prompt)
        answer = provider.polled(job, time.monotonic_ns())
        return await self._answer(target, upstream, answer, connection)

    async def _download(self, upstream: Upstream, name: str, connection: Connection) -> None:
        await connection.body()
        file = self._simulator.media.get(upstream.name, name)
        if file is None:
            return await send(connection, Answer(404, b"no such file", {}, "text/plain"))
        answer = await self._file_answer(file)
        return await self._answer(file.target, upstream, answer, connection, file.fault)

    async def _file_answer(self, file: StoredFile) -> Answer:
        data = await self._simulator.paint_beside(lambda: paint(file.picture))
        return Answer(200, data, {}, file.picture.media_type)

    async def _answer(
        self,
        target: Target,
        upstream: Upstream,
        answer: Answer,
        connection: Connection,
        stored: Fault | None = None,
    ) -> None:
        fault = self._simulator.faults.take(target, "before_admission", "after_admission", "mid_response")
        if fault is not None and fault.stage != "mid_response":
            answer = await interrupt(fault, upstream.provider, connection) or answer
        await send(connection, answer, fault or stored)


def _moved(request: Request, upstream: Upstream, hops: int, name: str) -> Answer:
    """A redirect one hop nearer to the file; every second one without scheme and host, as RFC 9110 allows."""
    path = f"/{upstream.name}/moved/{hops - 1}/{name}" if hops > 1 else f"/{upstream.name}/files/{name}"
    host = "" if hops % 2 == 0 else f"{request.url.scheme}://{request.url.netloc}"
    status = _MOVED_STATUSES[hops % len(_MOVED_STATUSES)]
    return Answer(status, b"", {"location": f"{host}{path}"}, "text/plain")


def _split(path: str) -> tuple[str, str]:
    name, _, rest = path.removeprefix("/").partition("/")
    return name, f"/{rest}"
