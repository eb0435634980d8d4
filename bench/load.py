"""Load on a port, from a process of its own (`load_client.py`), and the requests that it sends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.load_client import LoadOrder, LoadResult
from bench.stack import ROOT

CONNECTIONS = 64
_EVER = 10**9
"""As a number of requests, or of seconds: no limit."""
_PATIENCE_SECONDS = 600.0
MODEL = "microsoft-mai-image-2-5"


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a load: answers a second, and the times of each in ms, sorted."""

    rate: float
    times: Sequence[float]


def load(
    port: int,
    requests: Sequence[str],
    *,
    seconds: float = _EVER,
    count: int = _EVER,
    connections: int = CONNECTIONS,
) -> Answers:
    """Send requests in turn over connections that stay open, for some seconds or up to some number.

    Raises:
        RuntimeError: an answer was no 2xx.
    """
    order: LoadOrder = {
        "port": port,
        "requests": list(requests),
        "connections": connections,
        "seconds": seconds,
        "count": count,
    }
    command = [sys.executable, "-m", "bench.load_client"]
    done = subprocess.run(  # noqa: S603  # this project's own program
        command,
        cwd=ROOT,
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=True,
        timeout=_PATIENCE_SECONDS,
    )
    result: LoadResult = json.loads(done.stdout)
    if result["failed"]:
        raise RuntimeError(f"{result['failed']} of {result['done']} answers were no 2xx")
    return Answers(result["done"] / result["seconds"], result["times"])


def submit_request(key: str, webhook_url: str = "") -> str:
    """A submit in Pixazo's dialect, as bytes on the wire."""
    body = json.dumps({"prompt": "A lighthouse on a cliff at dusk, painted in oil", "num_images": 1})
    more = f"x-webhook-url: {webhook_url}\r\n" if webhook_url else ""
    return (
        f"POST /{MODEL}/v1/{MODEL}-request HTTP/1.1\r\nhost: bench\r\nocp-apim-subscription-key: {key}\r\n"
        f"content-type: application/json\r\n{more}content-length: {len(body)}\r\n\r\n{body}"
    )


def status_request(key: str, request_id: str) -> str:
    """A poll."""
    return (
        f"GET /v2/requests/status/{request_id} HTTP/1.1\r\nhost: bench\r\n"
        f"ocp-apim-subscription-key: {key}\r\n\r\n"
    )
