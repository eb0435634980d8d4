"""Row `bodies`: how long others wait for bodies of JSON that cost a reader more than their sender.

Each body is sent by a client with a key, again and again, while another client asks `/healthz` on a
connection of its own; the longest of its waits counts, and the peak of the process's memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.api import Api, start_api
from bench.edge import RESET_PEAK, Bystander
from bench.stack import KEY, deployment, running
from bench.table import Line

MODEL = "microsoft-mai-image-2-5"
PATH = f"/{MODEL}/v1/{MODEL}-request"
MIB = 1024 * 1024
TIMES = 3
SIZES = {8 * MIB: 50.0, 31 * MIB: 200.0}
"""Bytes of a body, the second just under the limit, and the target in milliseconds."""

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
        return [
            line
            for size, target in SIZES.items()
            for what, shape in SHAPES.items()
            for line in _measured(api, f"{size // MIB} MiB, {what}", shape(size), target)
        ]


def _measured(api: Api, what: str, body: bytes, target: float) -> Iterator[Line]:
    Path(f"/proc/{api.process.pid}/clear_refs").write_text(RESET_PEAK, "ascii")
    before, bystander = api.memory("VmRSS"), Bystander(api.port)
    with api.client() as client, bystander.asking():
        for _ in range(TIMES):
            answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
            if not answer.is_client_error:
                raise RuntimeError(f"{what}: {answer.status_code}")
    longest, more = max(bystander.waits, default=0.0) * 1000, api.memory("VmHWM") - before
    name = f"{what}: longest wait of others, memory"
    yield Line("bodies", name, f"{longest:.0f} ms, +{more:.0f} MB", f"{target:.0f} ms", longest <= target)
