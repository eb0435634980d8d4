"""Row `pictures`: what hostile pictures of one account cost in memory, and in the time of others.

Sixteen clients of an account send each kind at once, as input images. Meanwhile another client asks
`/healthz`, and another account edits a picture of 64 x 64 pixels, again and again until it is accepted.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image

from bench.api import START_SECONDS, Api, start_api
from bench.edge import RESET_PEAK, Bystander
from bench.stack import KEY, deployment, running
from bench.table import Line
from chaos.hostile.pictures import EXPENSIVE

MODEL = "microsoft-mai-image-2-5"
PATH = f"/{MODEL}-edit/v1/{MODEL}-edit-request"
CLIENTS = 16
MEMORY_MB, WAIT_MS, EDIT_SECONDS = 400.0, 200.0, 30.0
"""Targets: the peak of the process, the longest wait for `/healthz`, when the other's edit is accepted."""


def run() -> list[Line]:
    """Measure each kind at one process."""
    upstreams = {"one": {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": 60}}}}
    with running(upstreams, [MODEL], deployment("one", MODEL, 60)) as stack:
        api = start_api(stack)
        return [line for kind, make in EXPENSIVE.items() for line in _measured(api, kind, make())]


def _measured(api: Api, kind: str, picture: bytes) -> Iterator[Line]:
    Path(f"/proc/{api.process.pid}/clear_refs").write_text(RESET_PEAK, "ascii")
    bystander, small = Bystander(api.port), BytesIO()
    Image.new("RGB", (64, 64)).save(small, "PNG")
    # Bodies and clients are made before, because the bystander is a thread of the same interpreter.
    hostile, other = _body(picture), _body(small.getvalue())
    with ExitStack() as opened:
        clients = [opened.enter_context(_client(api, api.keys[0])) for _ in range(CLIENTS)]
        neighbour = opened.enter_context(_client(api, api.keys[1]))
        pool = opened.enter_context(ThreadPoolExecutor(CLIENTS))
        opened.enter_context(bystander.asking())
        sent = [pool.submit(_sent, client, hostile) for client in clients]
        seconds, refused = _until_accepted(neighbour, other)
        statuses = sorted({one.result() for one in sent})
    peak, longest = api.memory("VmHWM"), max(bystander.waits, default=0.0) * 1000
    yield Line("pictures", f"{kind}: peak", f"{peak:.0f} MB", f"{MEMORY_MB:.0f} MB", peak < MEMORY_MB)
    yield Line(
        "pictures", f"{kind}: longest wait", f"{longest:.0f} ms", f"{WAIT_MS:.0f} ms", longest < WAIT_MS
    )
    told = f"{seconds:.1f} s, {refused} refusals before; theirs: {statuses}"
    yield Line("pictures", f"{kind}: other's edit", told, f"{EDIT_SECONDS:.0f} s", seconds < EDIT_SECONDS)


def _body(picture: bytes) -> bytes:
    url = f"data:image/any;base64,{base64.b64encode(picture).decode()}"
    return json.dumps({"prompt": "make it blue", "image_urls": [url]}).encode()


def _client(api: Api, key: str) -> httpx.Client:
    headers = {"api-key": key, "Content-Type": "application/json"}
    return httpx.Client(base_url=api.url, headers=headers, timeout=START_SECONDS, trust_env=False)


def _sent(client: httpx.Client, body: bytes) -> int:
    return client.post(PATH, content=body).status_code


def _until_accepted(client: httpx.Client, body: bytes) -> tuple[float, int]:
    """Seconds until the other account's edit is accepted, and how often it was refused before.

    Raises:
        RuntimeError: it was refused for another reason than that everything is in use.
    """
    began, refused = time.perf_counter(), 0
    while (status := _sent(client, body)) != HTTPStatus.ACCEPTED:
        if status != HTTPStatus.SERVICE_UNAVAILABLE:
            raise RuntimeError(f"the other account's edit: {status}")
        refused += 1
    return time.perf_counter() - began, refused
