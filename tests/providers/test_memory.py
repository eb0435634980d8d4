"""64 calls in flight of 4 MB images stay under 400 MB (issue 5)."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.media.pictures import encoded
from tests.providers.scripted import answer, read_request, scripted_server

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def large_answer() -> bytes:
    """A Foundry answer with a PNG of about 4 MB: noise does not compress."""
    noise = Image.frombytes("RGB", (1184, 1184), os.urandom(1184 * 1184 * 3))
    png = encoded(noise, "png", compress_level=1)
    assert 3.9e6 < len(png) < 4.6e6
    body = b'{"data": [{"b64_json": "' + base64.b64encode(png) + b'"}]}'
    return answer(200, body)


def test_64_calls_of_4_mb_images_stay_under_400_mb(large_answer: bytes) -> None:
    def script(connection: socket.socket) -> None:
        connection.settimeout(100)  # 64 at once on a busy machine
        read_request(connection)
        connection.sendall(large_answer)

    with scripted_server(script) as url:
        done = subprocess.run(
            [sys.executable, "-m", "tests.providers.many_calls", url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    calls, smallest, peak_mib = map(int, done.stdout.split())
    assert (calls, smallest > 3_900_000) == (64, True)
    assert peak_mib * 1024 * 1024 < 400_000_000
