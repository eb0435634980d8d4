"""A program: 64 calls at once, each answered with an image of about 4 MB; prints its peak memory in MiB.

It does what a worker's slots do: build, send, then parse, check and store inside the gate. Its argument is
the upstream's address.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx

from imagequeue.domain.upstream import Images
from imagequeue.egress import deadline_transport
from imagequeue.media.gate import DECODING
from imagequeue.media.images import check_output
from imagequeue.media.local import LocalStorage
from imagequeue.providers import exchange
from imagequeue.providers.provider import Call
from imagequeue.providers.registry import PROVIDERS
from tests.providers.deployments import deployment

CALLS = 64


def main(url: str) -> None:
    """Make the calls and print the peak."""
    everybody = Barrier(CALLS)
    with (
        tempfile.TemporaryDirectory() as directory,
        httpx.Client(transport=deadline_transport()) as client,
        ThreadPoolExecutor(CALLS) as pool,
    ):
        storage = LocalStorage(Path(directory))
        futures = [pool.submit(attempt, slot, url, client, storage, everybody) for slot in range(CALLS)]
        sizes = [future.result() for future in futures]
    print(len(sizes), min(sizes), peak_mib())  # noqa: T201  # its whole output


def peak_mib(pid: int | str = "self") -> int:
    """The peak of one program alone: what getrusage says includes its parent's at the fork."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


def attempt(slot: int, url: str, client: httpx.Client, storage: LocalStorage, everybody: Barrier) -> int:
    """One call; all have their answers before the first is parsed."""
    provider = PROVIDERS["foundry"]
    request = provider.build(Call(prompt=f"Lamp {slot}"), deployment("foundry", url), "the-key")
    response = exchange.send(
        request, client=client, deadline_seconds=100, max_bytes=exchange.response_limit(1)
    )
    everybody.wait(100)
    with response, DECODING:
        outcome = provider.parse(response, 1)
        assert isinstance(outcome, Images)
        image = check_output(outcome.images[0].content or b"", "png")
        storage.put(f"v1/{slot}/output.png", image.content, image.media_type)
        return len(image.content)


if __name__ == "__main__":
    main(sys.argv[1])
