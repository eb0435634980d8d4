"""Clients that wait for their jobs at a server with the second dialect, and the pipeline that serves them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine

from api.app import create_app
from tests.api.second import BODY, NOW
from tests.api.service import BODY as PIXAZOS
from tests.api.service import ROUTE
from tests.builders import account
from tests.dialects.with_second import WITH_SECOND
from tests.eventually import eventually
from tests.loopback import NO_TLS
from tests.pipeline import Pipeline, RunningPipeline
from tests.servers import ServerThread


class Waiting:
    """The server, the pipeline, and threads for clients."""

    def __init__(self, pipeline: Pipeline, app: Any, http: httpx.Client, pool: ThreadPoolExecutor) -> None:
        self.pipeline, self.app, self.http, self._pool = pipeline, app, http, pool

    def post(self, headers: dict[str, str] | None = None, **fields: Any) -> Future[httpx.Response]:
        return self._pool.submit(self.http.post, NOW, json=BODY | fields, headers=headers)

    def pixazo(self, headers: dict[str, str] | None = None, **fields: Any) -> Future[httpx.Response]:
        return self._pool.submit(self.http.post, ROUTE, json=PIXAZOS | fields, headers=headers)

    def job(self) -> Any:
        """The one job, as soon as there is one."""
        eventually(lambda: self.pipeline.rows("SELECT 1 FROM jobs"))
        return self.pipeline.rows("SELECT id FROM jobs")[0]

    def run(self, *answers: Future[httpx.Response]) -> list[httpx.Response]:
        """Serve jobs until the clients have their answers."""
        while wait(answers, timeout=0.02).not_done:  # between two looks for jobs
            self.pipeline.run()
        return [answer.result() for answer in answers]

    def leave(self, headers: dict[str, str]) -> None:
        """Submit, wait until the job is there, and hang up."""
        request = self.http.build_request("POST", NOW, json=BODY, headers=headers)
        lines = [f"POST {NOW} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
        url = httpx.URL(self.http.base_url)
        with socket.create_connection((url.host, url.port or 80)) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + request.read())
            self.job()
            self.until_watched(1)

    def until_watched(self, count: int) -> None:
        """Wait until so many jobs are watched by clients."""
        watch = self.app.state.watch
        eventually(lambda: len(watch._watchers) == count)  # how many wait is told nowhere


@contextlib.contextmanager
def waiting_clients(engine: Engine, database_url: str, folder: Path, **settings: Any) -> Generator[Waiting]:
    """Serve until the context ends; `settings` are those of the API process."""
    with RunningPipeline(engine, database_url, folder) as pipeline, ThreadPoolExecutor(4) as pool:
        runtime = replace(pipeline.runtime, settings=pipeline.runtime.settings.model_copy(update=settings))
        app = create_app(runtime, WITH_SECOND)
        _, key = account(engine, "waiting")
        with (
            ServerThread(app) as server,
            httpx.Client(
                base_url=server.url, headers={"api-key": key.key}, timeout=120, verify=NO_TLS
            ) as http,
        ):
            yield Waiting(pipeline, app, http, pool)
