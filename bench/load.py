"""Load on a port, from a process of its own (`load_client.py`), and the requests that it sends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench.load_client import LoadOrder, LoadResult
from bench.stack import ROOT

CONNECTIONS = 64
_EVER = 10**9
"""As a number of requests, or of seconds: no limit."""
_PATIENCE_SECONDS = 600.0
MODEL = "microsoft-mai-image-2-5"


def load(port: int, requests: Sequence[str], *, seconds: float = _EVER, count: int = _EVER) -> float:
    """Send requests in turn over connections that stay open, for some seconds or up to some number.

    Returns answers a second.

    Raises:
        RuntimeError: an answer was no 2xx.
    """
    order = LoadOrder(port, list(requests), CONNECTIONS, seconds, count)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load_client"],
        cwd=ROOT,
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        check=True,
        timeout=_PATIENCE_SECONDS,
    )
    result: LoadResult = json.loads(done.stdout)
    if result["failed"]:
        raise RuntimeError(f"{result['failed']} of {result['done']} answers were no 2xx")
    return result["done"] / result["seconds"]


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
