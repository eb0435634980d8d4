"""An API process of a stack, and clients that wait for their jobs at it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.stack import Stack
from cli.api import BACKLOG
from imagequeue.lifecycle.operate.accounts import KeyTerms, add_key

START_SECONDS = 180.0
ACCOUNTS = 4
"""As many as it takes to use all that a process may hold of images: one account gets a quarter of it."""

Body = dict[str, object]
_STEP = 64 * 1024
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Api:
    """The process, and keys of several accounts for it."""

    process: subprocess.Popen[bytes]
    port: int
    keys: tuple[str, ...]

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        """A client with the key."""
        return httpx.Client(base_url=self.url, headers={"api-key": self.keys[0]}, trust_env=False, timeout=30)

    def memory(self, field: str) -> float:
        """MB of the process: `VmRSS` now, `VmHWM` at the peak."""
        text = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(rf"{field}:\s+(\d+) kB", text)
        return int(found[1]) * 1024 / 1e6 if found else 0.0


def start_api(stack: Stack, processes: int = 1) -> Api:
    """Start API processes on one listening socket, and wait until one answers; `process` is the first.

    Raises:
        TimeoutError: none does.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        started = [
            stack.start("api", "--fd", str(descriptor), descriptors=(descriptor,)) for _ in range(processes)
        ]
    api, until = Api(started[0], port, _keys(stack)), time.monotonic() + START_SECONDS
    while not _answers(api.url):
        if time.monotonic() > until:
            raise TimeoutError("the API did not become ready")
        time.sleep(0.1)
    return api


def _keys(stack: Stack) -> tuple[str, ...]:
    """A key of the stack's own account first."""
    names = ["bench", *(f"client {number}" for number in range(1, ACCOUNTS))]
    for name in names[1:]:
        stack.open_account(name)
    runtime = stack.runtime
    return tuple(add_key(runtime.engine, runtime.keyring, name, "client", KeyTerms()).key for name in names)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


@dataclass(frozen=True, slots=True)
class Answer:
    """A job's answer: its id, bytes of the body, and when (monotonic seconds) the last of them came."""

    request_id: str
    size: int
    ended_at: float


async def wait_for_job(api: Api, number: int, path: str, body: Body, reading: asyncio.Event) -> Answer:
    """Submit, wait for the head of the answer, and read the rest as soon as `reading` is set.

    `number` is the client's; the clients belong to the accounts in turn. The receive buffer is small, so that
    the answer waits in the API and not in the kernel.
    """
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STEP)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", api.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=_STEP)
    try:
        writer.write(_request(api.keys[number % ACCOUNTS], path, json.dumps(body).encode()))
        head = await reader.readuntil(b"\r\n\r\n")
        await reading.wait()
        length, size = _length(head), 0
        while size < length:
            size += len(await reader.read(_STEP)) or length
        return Answer(_header(head, "x-request-id"), size, time.monotonic())
    finally:
        writer.close()


def _request(key: str, path: str, content: bytes) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "host: bench",
        f"api-key: {key}",
        "content-type: application/json",
        f"content-length: {len(content)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + content


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    if found is None or not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head[:200].decode("latin-1"))
    return int(found[1])


def _header(head: bytes, name: str) -> str:
    found = re.search(rf"{name}: (\S+)".encode(), head, re.IGNORECASE)
    return found[1].decode("ascii") if found else ""
