"""64 edits in flight in a real worker, each with 4 MB in and 4 MB out, stay under 400 MB."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine

from imagequeue.media.keys import input_key
from imagequeue.redis_server.address import read_redis_url
from imagequeue.settings import PREFIX
from tests.builders import MODEL, SECRET_KEY
from tests.eventually import eventually
from tests.media.pictures import encoded
from tests.pipeline import Pipeline, RunningPipeline
from tests.providers.scripted import answer, read_request, scripted_server
from worker.app import make_app
from worker.celery_publisher import CeleryPublisher

pytestmark = pytest.mark.long

CALLS = 64
SECONDS = 240
DEPLOYMENT: dict[str, Any] = {"max_in_flight": CALLS, "cold_start": "fresh", "guard_ms": 0, "pace": False}
CATALOG = f"""
[[models]]
id = "{MODEL}"
operations = ["generate", "edit"]
price_usd = "0.039"

[[deployments]]
name = "foundry-test"
model = "{MODEL}"
provider = "foundry"
upstream_model = "mai-image-2-5"
endpoint = "URL"
key_env = "TEST_KEY"
rpm = 1000
"""


def _worker(pipeline: Pipeline, redis_url: str, url: str) -> subprocess.Popen[bytes]:
    settings, folder = pipeline.runtime.settings, pipeline.directory
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG.replace("URL", url))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {
        "IMAGEQUEUE_DATABASE_URL": settings.database_url.get_secret_value().replace("+psycopg", ""),
        "IMAGEQUEUE_REDIS_URL": redis_url,
        "IMAGEQUEUE_SECRET_KEY": SECRET_KEY,
        "IMAGEQUEUE_CATALOG": str(catalog),
        "IMAGEQUEUE_STORAGE_URL": settings.storage_url,
        "IMAGEQUEUE_SPILL_DIR": f"{folder}/spill",
        "TEST_KEY": "upstream-key",
    }
    command = [sys.executable, "-m", "cli", "worker", "--queues", "generate.interactive"]
    return subprocess.Popen(
        [*command, "--concurrency", str(CALLS)], env=environment, stderr=subprocess.DEVNULL
    )


def _await(pipeline: Pipeline, query: str, expected: int, **values: Any) -> None:
    eventually(lambda: pipeline.rows(query, **values)[0][0] >= expected, SECONDS)


def peak_mib(pid: int) -> int:
    """The peak of one program alone: what getrusage says includes its parent's at the fork."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


def test_64_edits_of_4_mb_images_stay_under_400_mb(
    engine: Engine, database_url: str, tmp_path: Path, redis_url: str
) -> None:
    noise = Image.frombytes("RGB", (1184, 1184), os.urandom(1184 * 1184 * 3))
    png = encoded(noise, "png", compress_level=1)
    assert 3.9e6 < len(png) < 4.6e6
    made = answer(200, b'{"data": [{"b64_json": "' + base64.b64encode(png) + b'"}]}')
    everybody = Barrier(CALLS)

    def script(connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        assert len(read_request(connection)) > len(png)
        everybody.wait(SECONDS)
        connection.sendall(made)

    with (
        scripted_server(script) as url,
        RunningPipeline(engine, database_url, tmp_path, **DEPLOYMENT) as pipeline,
        _worker(pipeline, redis_url, url) as worker,
    ):
        try:
            began = time.monotonic()
            _await(pipeline, "SELECT count(*) FROM processes WHERE pid = :pid", 1, pid=worker.pid)
            start_of_worker = time.monotonic() - began
            pipeline.runtime.storage.put(input_key(png), png, "image/png")
            pipeline.submit(CALLS, operation="edit", input_images=(input_key(png),))
            pipeline.beat()
            assert pipeline.dispatch.run_once() == CALLS
            # Nobody can move a start that was read, so all 64 requests must be prepared by then. How long
            # that takes on this machine, as busy as it is, the start of the worker has shown.
            later = "UPDATE attempts SET slot_at = clock_timestamp() + make_interval(secs => :seconds)"
            pipeline.execute(later, seconds=15 + 12 * start_of_worker)
            CeleryPublisher(make_app(read_redis_url(redis_url)), pipeline.runtime.redis).attempts(
                pipeline.rung
            )
            _await(pipeline, "SELECT count(*) FROM jobs WHERE status <> 'PROCESSING'", CALLS)
            peak = peak_mib(worker.pid)
        finally:
            worker.kill()
        statuses = pipeline.rows("SELECT status, count(*) FROM jobs GROUP BY status")
        assert statuses == [("COMPLETED", CALLS)]
        states = pipeline.rows("SELECT state, count(*) FROM attempts GROUP BY state")
        assert states == [("SUCCEEDED", CALLS)], "each was made once, and all at the same time"
    assert peak * 1024 * 1024 < 400_000_000
