"""A stack that runs: `imagequeue up` as a subprocess, and a client for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
MODEL = "microsoft-mai-image-2-5"
PATIENCE_SECONDS = 120
SUBMIT = f"/{MODEL}/v1/{MODEL}-request"


def job_ids(request_ids: Sequence[str]) -> list[str]:
    """The ids that the jobs have in the tables."""
    return [request_id.rpartition("_")[2] for request_id in request_ids]


class LiveStack:
    """`imagequeue up` on a data directory; started on entering, stopped cleanly on leaving."""

    def __init__(self, directory: Path, *options: str, **environment: str) -> None:
        self.directory, self.options, self.environment = directory, options, environment
        self.key, self.port = "", "0"
        self._pause = threading.Event()  # never set: a client that is told to come back later waits

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait for the line that says ready."""
        arguments = ["-m", "cli", "up", "--port", self.port, "--data-dir", str(self.directory), *self.options]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("IMAGEQUEUE_")
        }
        # Its tests are patient; those that run beside it have slots to keep.
        self.process = subprocess.Popen(
            ["nice", sys.executable, *arguments],  # noqa: S607  # wherever the machine has it
            cwd=ROOT,
            env=environment | self.environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # without a controlling terminal, wherever the tests run
        )
        assert self.process.stdout
        said = list[str]()
        for line in self.process.stdout:
            said.append(line)
            words = line.split()
            self.key = next((word for word in words if word.startswith("iq_")), self.key)
            if words[:1] == ["ready"]:
                self.url = words[1]
                self.port = self.url.rpartition(":")[2]
                self.client = httpx.Client(base_url=self.url, headers={"api-key": self.key}, trust_env=False)
                return
        raise AssertionError(f"the stack did not become ready: {''.join(said)}")

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout
        self.process.stdout.read()
        assert self.process.wait(120) == 0
        self.process.stdout.close()

    def kill(self, name: str) -> None:
        """SIGKILL the first process whose name starts so."""
        os.kill(next(pid for each, pid in self.pids().items() if each.startswith(name)), signal.SIGKILL)

    def pids(self) -> dict[str, int]:
        """The pid of each process, by its name."""
        processes = json.loads((self.directory / "stack.json").read_text())["processes"]
        return {process["name"]: process["pid"] for process in processes}

    def kill_supervisor(self) -> None:
        """SIGKILL `imagequeue up` itself."""
        self.client.close()
        self.process.kill()
        self.process.wait(120)
        assert self.process.stdout
        self.process.stdout.close()

    def children(self) -> list[psutil.Process]:
        """Every process below the supervisor, servers and their own children included."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def submit(self, count: int, headers: Mapping[str, str] | None = None) -> list[str]:
        """Submit jobs as a client does that repeats what did not get through, under one key each."""
        return [self._submit(f"job number {number}", headers or {}) for number in range(count)]

    def _submit(self, prompt: str, more: Mapping[str, str]) -> str:
        headers = {"Idempotency-Key": f"{prompt} {id(self)} {os.urandom(4).hex()}", **more}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                response = self.client.post(SUBMIT, json={"prompt": prompt}, headers=headers)
            except httpx.TransportError:
                continue
            if response.is_success:
                return response.json()["request_id"]
            assert response.status_code == 503, response.text
            self._pause.wait(min(float(response.headers["Retry-After"]), 0.2))
        raise AssertionError("no submit got through")

    def statuses(self, request_ids: Sequence[str]) -> list[str]:
        """The final statuses, waited for by the event stream."""
        return [self._final(request_id) for request_id in request_ids]

    def _final(self, request_id: str) -> str:
        while True:
            try:
                return self._last_event(request_id)
            except (httpx.TransportError, KeyError):
                continue

    def _last_event(self, request_id: str) -> str:
        """Read the events to their end; the stream ends early when the API dies or the database is away."""
        last: dict[str, Any] = {}
        with self.client.stream("GET", f"/v2/requests/{request_id}/events", timeout=120) as response:
            for line in response.iter_lines():
                if line.startswith("data:"):
                    last = json.loads(line.removeprefix("data:"))
        return last["status"] if last["status"] in ("COMPLETED", "FAILED", "ERROR") else last[""]

    def wallet(self) -> dict[str, Any]:
        """What the account has."""
        return self.client.get("/v2/wallet").json()
