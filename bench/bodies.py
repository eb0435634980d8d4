"""Row `bodies`: how long others wait for bodies of JSON that cost a reader more than their sender.

The last of them is no hostile one: an edit whose picture is as large as an input may be.

Each body is sent by a client with a key, again and again, while another client asks `/healthz` on a
connection of its own; the longest of its waits counts, and the peak of the process's memory.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from bench.api import Api, start_api
from bench.edge import RESET_PEAK, Bystander
from bench.stack import KEY, deployment, running
from bench.table import Line

MODEL = "microsoft-mai-image-2-5"
PATH = f"/{MODEL}/v1/{MODEL}-request"
EDIT = f"/{MODEL}-edit/v1/{MODEL}-edit-request"
MIB = 1024 * 1024
TIMES = 3
SIZES = {8 * MIB: 50.0, 31 * MIB: 200.0}
"""Bytes of a body, the second just under the limit, and the target in milliseconds."""
SIDES = {1425: 50.0, 2550: 200.0}
"""Pixels of a side of a picture that makes a body of 8 MB, and of the largest one, with the same targets."""

Shape = Callable[[int], bytes]
SHAPES: dict[str, Shape] = {
    "one data URL": lambda size: b'{"prompt":"a","x":"data:image/png;base64,' + b"A" * size + b'"}',
    "a data URL with escapes": lambda size: (
        b'{"prompt":"a","x":"' + (b"A" * 63 + b"\\/") * (size // 65) + b'"}'
    ),
    "escapes": lambda size: b'{"prompt":"' + b"\\n" * (size // 2) + b'"}',
    "quotes": lambda size: b'{"prompt":"' + b'\\"' * (size // 2) + b'"}',
    "two bytes a character": lambda size: '{{"prompt":"{}"}}'.format("ü" * (size // 2)).encode(),
    "unknown fields": lambda size: json.dumps({f"k{n}": 1 for n in range(size // 14)}).encode(),
    "2,900 unknown fields in objects": lambda _: json.dumps(
        {"prompt": "a", "x": [{f"k{n}": 1 for n in range(190)} for _ in range(15)]}
    ).encode(),
    "numbers": lambda size: b'{"x":[' + b"1," * (size // 2) + b"1]}",
    "lists in lists": lambda size: (
        b'{"x":[' + (b"[" * 300 + b"]" * 300 + b",") * min(2900, size // 601) + b"1]}"
    ),
    "empty objects": lambda size: b'{"x":[' + b"{}," * (size // 3) + b"1]}",
    "brackets": lambda size: b"[" * size,
}


def run() -> list[Line]:
    """Measure each shape in each size at one process."""
    upstreams = {"one": {"provider": "foundry", "keys": [KEY], "models": {"mai": {"rpm": 60}}}}
    with running(upstreams, [MODEL], deployment("one", MODEL, 60)) as stack:
        api = start_api(stack)
        hostile = [
            line
            for size, target in SIZES.items()
            for what, shape in SHAPES.items()
            for line in _measured(api, f"{size // MIB} MiB, {what}", shape(size), target)
        ]
        valid = (
            line for side, target in SIDES.items() for line in _measured(api, *_edit(side), target, path=EDIT)
        )
        return [*hostile, *valid]


def _edit(side: int) -> tuple[str, bytes]:
    """What it is, and the body of an edit of a square picture of noise, which is as large as its pixels."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(buffer, "PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    body = json.dumps({"prompt": "make it blue", "image_urls": [url]}).encode()
    return f"{len(body) // MIB} MiB, the data URL of a PNG of noise", body


def _measured(api: Api, what: str, body: bytes, target: float, *, path: str = PATH) -> Iterator[Line]:
    Path(f"/proc/{api.process.pid}/clear_refs").write_text(RESET_PEAK, "ascii")
    before, bystander = api.memory("VmRSS"), Bystander(api.port)
    with api.client() as client, bystander.asking():
        for _ in range(TIMES):
            answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
            if not (answer.is_success if path == EDIT else answer.is_client_error):
                raise RuntimeError(f"{what}: {answer.status_code}")
    longest, more = max(bystander.waits, default=0.0) * 1000, api.memory("VmHWM") - before
    name = f"{what}: longest wait of others, memory"
    yield Line("bodies", name, f"{longest:.0f} ms, +{more:.0f} MB", f"{target:.0f} ms", longest <= target)
